/**
 * SIGUSR2 switches an engine's step trace on, and off again; off writes it as a file that Perfetto opens:
 *
 *   kill -USR2 PID      the engine's pid is in /health
 *
 * Owns the signal's handler. A file that cannot be written costs the trace, never the engine.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The part of `EngineCore` that it switches. */
export interface TracedEngine {
  startTrace(): void
  /** The trace as JSON, or null when none was on. */
  endTrace(): string | null
}

/** @param say - one line for people */
export function switchTraceBySignal(
  engine: TracedEngine,
  folder: string,
  say: (line: string) => void,
): void {
  process.on('SIGUSR2', () => {
    const json = engine.endTrace()
    if (json === null) {
      engine.startTrace()
      say('step trace on; the next SIGUSR2 writes it')
      return
    }
    say(writeTrace(json, folder))
  })
}

function writeTrace(json: string, folder: string): string {
  const file = join(folder, `steps-${process.pid}-${Date.now()}.json`)
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, json)
    return `step trace written: ${file} (open it in ui.perfetto.dev)`
  } catch (error) {
    return `step trace lost: ${error instanceof Error ? error.message : String(error)}`
  }
}
