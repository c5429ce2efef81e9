/**
 * Entry of a replica's process (D6): forked by the API process, told once what to load, then a loop until it is told to
 * stop or its parent is gone. Writes only to the channel and, for people, to stderr.
 *
 *   exit 0    stopped, or the parent is gone
 *   exit 70   a broken invariant or an unforeseen error: `failed` was sent before
 *   exit 78   it could not be loaded: `failed` was sent before
 *
 * P1 Signals that a terminal sends to the whole group are ignored: the parent decides when to end.
 */

import { systemClock } from '../base/clock.ts'
import { ServingError, type WireError } from '../base/errors.ts'
import { AdapterDesk } from './adapter-desk.ts'
import { EngineLoop } from './engine-loop.ts'
import { workerError } from './errors.ts'
import { loadEngine } from './load-engine.ts'
import type { EngineOptions, FromEngine, ToEngine, TraceAction, TraceAnswer } from './messages.ts'
import { switchTrace, switchTraceBySignal } from './trace-switch.ts'

const EXIT_BROKEN = 70 // EX_SOFTWARE
const EXIT_CANNOT_LOAD = 78 // EX_CONFIG
/** Of the five seconds in which a stopped process must be gone. */
const KEEP_CACHE_MS = 2_500
/** `/proc` is read at most this often. */
const RSS_EVERY_MS = 1_000

let loop: EngineLoop | null = null
let trace: (action: TraceAction) => TraceAnswer = () => ({
  isOn: false,
  file: null,
  reason: 'the engine is loading',
})
let desk: AdapterDesk | null = null
/** What came while the engine was being loaded. */
const early: ToEngine[] = []

process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.on('SIGHUP', () => {})
process.on('SIGUSR2', () => {})
process.on('disconnect', () => process.exit(0))
process.on('uncaughtException', (error) => fail(error, EXIT_BROKEN))
process.on('message', (message: ToEngine) => {
  if (message.type === 'start') void run(message.options)
  else if (message.type === 'trace') void send({ type: 'traced', answer: trace(message.action) })
  else if (loop !== null) accept(loop, message)
  else if (message.type === 'stop') process.exit(0)
  else early.push(message)
})

async function run(options: EngineOptions): Promise<void> {
  try {
    const { core, executor, close, description } = await loadEngine(
      options,
      (stage, fraction) => void send({ type: 'progress', stage, fraction }),
      systemClock,
      // The parent logs it.
      (warning) => process.stderr.write(`${warning}\n`),
    )
    loop = new EngineLoop(core, { send, rssBytes })
    trace = (action) => switchTrace(core, options.traceFolder, action)
    desk = new AdapterDesk({
      slots: executor.adapters,
      usesAdapter: (slot) => core.usesAdapter(slot),
      send,
    })
    if (options.traceFolder !== undefined) {
      switchTraceBySignal(core, options.traceFolder, (line) => process.stderr.write(`${line}\n`))
    }
    await send({ type: 'ready', description })
    for (const message of early.splice(0)) accept(loop, message)
    await loop.run()
    await core.keepCache(systemClock.nowMs() + KEEP_CACHE_MS)
    await close()
    await lastWritten
    process.exit(0)
  } catch (error) {
    fail(error, loop === null ? EXIT_CANNOT_LOAD : EXIT_BROKEN)
  }
}

function accept(engineLoop: EngineLoop, message: ToEngine): void {
  if (message.type === 'load-adapter' || message.type === 'unload-adapter') desk?.accept(message)
  else engineLoop.accept(message)
}

/** Exiting drops what is not written yet. */
let lastWritten: Promise<void> = Promise.resolve()

/** Resolves at once while the channel has room, else when it has drained. A closed channel ends the process anyway. */
function send(message: FromEngine): Promise<void> {
  let hasRoom: boolean | undefined
  lastWritten = new Promise((resolve) => {
    hasRoom = process.send?.(message, undefined, undefined, () => resolve())
  })
  return hasRoom === true ? Promise.resolve() : lastWritten
}

function fail(error: unknown, exitCode: number): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  const exit = () => process.exit(exitCode)
  if (!process.connected) exit()
  process.send?.({ type: 'failed', error: toWire(error) }, undefined, undefined, exit)
}

function toWire(error: unknown): WireError {
  if (error instanceof ServingError) return error.toWire()
  const reason = error instanceof Error ? error.message : String(error)
  return workerError('WORKER_INTERNAL', { details: { reason } }).toWire()
}

let rssAtMs = Number.NEGATIVE_INFINITY
let lastRssBytes = 0

function rssBytes(): number {
  const nowMs = performance.now()
  if (nowMs - rssAtMs >= RSS_EVERY_MS) {
    rssAtMs = nowMs
    lastRssBytes = process.memoryUsage.rss()
  }
  return lastRssBytes
}
