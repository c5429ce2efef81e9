/**
 * The impure edge of the configuration: reads the environment, the file that it or `--config` names, and the machine.
 * The only module of the product that touches `process.env`.
 */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { configError } from './errors.ts'
import { detectHardware, type Hardware } from './hardware.ts'
import { CONFIG_FILE_VARIABLE, type OptionKey } from './options.ts'
import { resolveConfig } from './resolve-config.ts'
import type { RuntimeConfig } from './runtime-config.ts'
import {
  type ConfigFile,
  valuesOfEnvironment,
  valuesOfFile,
  valuesOfFlags,
  type WrittenValues,
} from './sources.ts'

export interface LoadedConfig {
  readonly config: RuntimeConfig
  readonly hardware: Hardware
}

export interface CommandLine {
  /** `--config`. */
  readonly configFile: string | undefined
  readonly flags: Readonly<Partial<Record<OptionKey, unknown>>>
}

/** @throws ServingError of this room */
export function loadConfig({ configFile, flags }: CommandLine): LoadedConfig {
  const environment = Object.freeze({ ...process.env })
  const hardware = detectHardware()
  const written: WrittenValues[] = []
  const named = configFile ?? environment[CONFIG_FILE_VARIABLE]
  if (named !== undefined && named !== '') {
    const source = configFile === undefined ? CONFIG_FILE_VARIABLE : '--config'
    written.push(valuesOfFile(readConfigFile(named, source)))
  }
  written.push(valuesOfEnvironment(environment), valuesOfFlags(flags))
  const config = resolveConfig({ written, hardware, environment, folder: process.cwd() })
  return { config, hardware }
}

function readConfigFile(path: string, source: string): ConfigFile {
  try {
    return { path, text: readFileSync(resolve(path), 'utf8') }
  } catch (cause) {
    const got = cause instanceof Error ? cause.message : String(cause)
    const details = { file: path, source, got }
    throw configError('CONFIG_FILE_UNREADABLE', { param: source, details, cause })
  }
}
