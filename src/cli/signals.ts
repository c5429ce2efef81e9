/** SIGINT and SIGTERM for commands: the first asks to stop, the second ends the process at once with code 1. */

import { EXIT } from './errors.ts'

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** What an aborted command rejects with; told without a code, for the person knows. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'

  constructor(signal: string) {
    super(`stopped by ${signal}`)
  }
}

export interface SignalWatch {
  readonly signal: AbortSignal
  /** Give the signals back to Node's defaults. */
  stopListening(): void
}

export function abortOnSignal(): SignalWatch {
  const controller = new AbortController()
  const listener = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(EXIT.failed)
    controller.abort(new Interrupted(name))
  }
  for (const name of SIGNALS) process.on(name, listener)
  return {
    signal: controller.signal,
    stopListening: () => {
      for (const name of SIGNALS) process.off(name, listener)
    },
  }
}
