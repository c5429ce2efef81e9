/**
 * Opens npm `onnxruntime-node`, once a process and only when an exported graph is to be run.
 *
 * L1 Builds of libonnxruntime for Linux start an uploader to their vendor as soon as they are mapped. The variable that
 *    keeps it from existing is set before; nothing of a private endpoint may leave the machine.
 */

import { createRequire } from 'node:module'
import type * as OrtNode from 'onnxruntime-node'
import { executionError } from '../errors.ts'

export type Ort = typeof OrtNode

const require = createRequire(import.meta.url)

/**
 * @param name - of the module; another one in tests only
 * @throws ServingError EXECUTION_ORT_NOT_LOADED
 */
export function loadOrt(name = 'onnxruntime-node'): Ort {
  forbidTelemetry()
  try {
    const ort = require(name) as Ort
    // Every failure reaches the caller as an error with the same text; a second copy on stderr helps nobody.
    ort.env.logLevel = 'fatal'
    return ort
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw executionError('EXECUTION_ORT_NOT_LOADED', { cause, details: { reason } })
  }
}

function forbidTelemetry(): void {
  // biome-ignore lint/style/noProcessEnv: written for a library that reads nothing else (L1); no setting is read here
  process.env.ORT_DISABLE_TELEMETRY = '1'
}
