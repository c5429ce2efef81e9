/**
 * Switches an engine's step trace on, and off again; off writes it as a file that Perfetto opens. By a message of the API
 * process (`POST /debug/trace`), or by a signal:
 *
 *   kill -USR2 PID      the engine's pid is in /health
 *
 * Owns the signal's handler. A file that cannot be written costs the trace, never the engine.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TraceAction, TraceAnswer } from './messages.ts'

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
    const { file, reason } = writeTrace(json, folder)
    say(
      file === null
        ? `step trace lost: ${reason}`
        : `step trace written: ${file} (open it in ui.perfetto.dev)`,
    )
  })
}

/** @param folder - where traces are written; absent = nowhere, and none is begun */
export function switchTrace(
  engine: TracedEngine,
  folder: string | undefined,
  action: TraceAction,
): TraceAnswer {
  if (folder === undefined)
    return { isOn: false, file: null, reason: 'this engine has no folder for traces' }
  const json = engine.endTrace()
  if (action === 'start') {
    engine.startTrace()
    const reason = json === null ? null : 'one was on: what it had recorded is given up'
    return { isOn: true, file: null, reason }
  }
  return json === null
    ? { isOn: false, file: null, reason: 'none was on' }
    : writeTrace(json, folder)
}

function writeTrace(json: string, folder: string): TraceAnswer {
  const file = join(folder, `steps-${process.pid}-${Date.now()}.json`)
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, json)
    return { isOn: false, file, reason: null }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { isOn: false, file: null, reason }
  }
}
