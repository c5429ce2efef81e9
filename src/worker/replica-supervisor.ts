/**
 * Keeps one replica alive: starts its engine process, watches it, starts it again when it ends, and says truthfully how
 * it is meanwhile. Owns the process and at most one restart that waits. JavaScript thread only.
 *
 *   starting ──▶ ready ──▶ restarting ──▶ ready …        a start that fails in a way that repeats ──▶ failed
 *       └────────── stop ──┴──────┴──────────▶ stopped    too many ends in a row ────────────────────▶ failed
 *
 * Invariants:
 * R1 Every submitted sequence ends: with its last update, or with `onLost` and an error that says when to try again.
 * R2 At most one engine process at a time; none once `stop` has resolved.
 * R3 `start` settles once: with the first description, or with why there never will be one.
 */

import { type Clock, systemClock } from '../base/clock.ts'
import { invariant, reviveServingError, type ServingError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import { EngineClient, type EngineEnd } from './engine-client.ts'
import { workerError } from './errors.ts'
import type { SpareEngine } from './fork-engine.ts'
import type {
  AdapterSpec,
  EngineDescription,
  EngineOptions,
  EngineStats,
  SequenceSpec,
  SequenceUpdate,
  TraceAction,
  TraceAnswer,
} from './messages.ts'
import { failuresOf, ReplicaAdapters } from './replica-adapters.ts'
import { DEFAULT_RESTART_SETTINGS, RestartPolicy, type RestartSettings } from './restart-policy.ts'
import { systemTimer, type Timer } from './timer.ts'
import { DEFAULT_WATCHDOG_SETTINGS, Watchdog, type WatchdogSettings } from './watchdog.ts'

export type SupervisorState = 'starting' | 'ready' | 'restarting' | 'failed' | 'stopped'

export interface SupervisorStatus {
  readonly state: SupervisorState
  readonly pid: number | null
  readonly numRestarts: number
  /** Milliseconds since this state began. */
  readonly sinceMs: number
  /** Why it is not ready, in one sentence. */
  readonly reason: string | null
  /** Of the last message; `null` while no engine runs. */
  readonly stats: EngineStats | null
}

/** Called on the event loop, never from inside `submit`. */
export interface SequenceListener {
  onUpdate(update: SequenceUpdate): void
  /** The engine ended with the sequence in it; no further update comes. */
  onLost(id: SequenceId, error: ServingError): void
}

export interface SupervisorOptions {
  /** JavaScript file of the engine process: `dist/app/engine-process.js`. */
  readonly entryPath: string
  readonly engine: EngineOptions
  /** A program that starts the process and becomes it, such as `taskset -c 0-3`. */
  readonly launcher?: readonly string[]
  /** A process that the first start becomes. */
  readonly spare?: SpareEngine | undefined
  /** The whole environment of the process; default: empty. */
  readonly environment?: Readonly<Record<string, string>>
  readonly restart?: RestartSettings
  readonly watchdog?: WatchdogSettings
  /** Silence while it loads after which it is given up; default 300 s. */
  readonly startSilenceMs?: number
  /** How long `stop` waits for the process to end itself; default 5 s. */
  readonly stopGraceMs?: number
  readonly clock?: Clock
  readonly timer?: Timer
  /** 0 ≤ x < 1; spreads restarts. */
  readonly chance?: () => number
  readonly onProgress?: (stage: string, fraction: number) => void
  /** A line that the engine process wrote, for the log. */
  readonly onLog?: (line: string) => void
  readonly onStateChange?: (status: SupervisorStatus) => void
  /** An adapter could not be loaded as the engine started. */
  readonly onAdapterFailed?: (slot: number, error: ServingError) => void
  /** After each step, for metrics. */
  readonly onStats?: (stats: EngineStats) => void
}

const START_SILENCE_MS = 300_000
const STOP_GRACE_MS = 5_000
/** Said while nothing is known of how long loading takes. */
const UNKNOWN_LOAD_MS = 5_000

type Client = EngineClient<SequenceListener>

export class ReplicaSupervisor {
  readonly #options: SupervisorOptions
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #policy: RestartPolicy
  readonly #adapters: ReplicaAdapters
  #state: SupervisorState = 'stopped'
  #stateSinceMs: number
  #reason: string | null = 'it has not been started'
  #client: Client | null = null
  #watchdog: Watchdog | null = null
  #stats: EngineStats | null = null
  /** Who waits to hear of a switched trace, in order. */
  #traces: Settle<TraceAnswer>[] = []
  #numRestarts = 0
  #loadMs = UNKNOWN_LOAD_MS
  #restartAtMs = 0
  /** The restart, start silence or stop grace that is waited for; never two at once. */
  #cancelTimer: () => void = () => {}
  #started: Settle<EngineDescription> | null = null
  #onStopped: (() => void) | null = null
  #isStopping = false
  #stopped: Promise<void> | null = null

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#timer = options.timer ?? systemTimer
    const chance = options.chance ?? Math.random
    this.#policy = new RestartPolicy(options.restart ?? DEFAULT_RESTART_SETTINGS, chance)
    this.#stateSinceMs = this.#clock.nowMs()
    this.#adapters = new ReplicaAdapters(options.engine.adapters ?? [])
  }

  /** Start the engine process; call once. Resolves when it is ready for the first time, rejects when it never will be. */
  start(): Promise<EngineDescription> {
    invariant(this.#started === null, 'R3', 'a supervisor is started twice')
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject }
      if (this.#isStopping) reject(workerError('WORKER_STOPPED'))
      else this.#launch('starting', 'the engine is loading')
    })
  }

  /**
   * Hand sequences over, all or none.
   *
   * @throws ServingError WORKER_NOT_READY, or WORKER_CRASH_LOOP once it was given up
   */
  submit(sequences: readonly SequenceSpec[], listener: SequenceListener): void {
    if (this.#state !== 'ready' || this.#client === null) throw this.#notReady()
    this.#client.submit(sequences, listener)
  }

  /** Ask for an end; the last update still comes. Ids that have ended already are ignored. */
  cancel(ids: readonly SequenceId[]): void {
    this.#client?.cancel(ids)
  }

  /**
   * Switch the engine's step trace.
   *
   * @throws ServingError WORKER_NOT_READY, WORKER_GIVEN_UP, WORKER_ENGINE_DIED
   */
  trace(action: TraceAction): Promise<TraceAnswer> {
    const client = this.#client
    if (this.#state !== 'ready' || client === null) return Promise.reject(this.#notReady())
    return new Promise((resolve, reject) => {
      this.#traces.push({ resolve, reject })
      client.trace(action)
    })
  }

  /**
   * Hold an adapter, in this process and in every later one. Resolves when the process that runs has it, or there is none.
   *
   * @throws ServingError what is wrong with its files; it is not held then
   */
  loadAdapter(adapter: AdapterSpec): Promise<void> {
    return this.#adapters.load(adapter, this.#client)
  }

  /** Hold it no more. @throws ServingError WORKER_ADAPTER_IN_USE */
  unloadAdapter(slot: number): Promise<void> {
    return this.#adapters.unload(slot, this.#client)
  }

  status(): SupervisorStatus {
    return {
      state: this.#state,
      pid: this.#client?.pid ?? null,
      numRestarts: this.#numRestarts,
      sinceMs: this.#clock.nowMs() - this.#stateSinceMs,
      reason: this.#reason,
      stats: this.#stats,
    }
  }

  /** End a ready process at once and start it again, as after a crash. */
  restart(reason: string): void {
    if (this.#state === 'ready') this.#client?.kill(reason)
  }

  /** End the process; what is inside is cancelled, or lost when it does not end in time. Idempotent. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  #stop(): Promise<void> {
    this.#isStopping = true
    this.#cancelTimer()
    this.#watchdog?.stop()
    this.#setState('stopped', 'the engine is stopped')
    this.#started?.reject(workerError('WORKER_STOPPED'))
    const client = this.#client
    if (client === null) return Promise.resolve()
    client.stop()
    const graceMs = this.#options.stopGraceMs ?? STOP_GRACE_MS
    this.#cancelTimer = this.#timer.after(graceMs, () => client.kill('it did not stop in time'))
    return new Promise((resolve) => {
      this.#onStopped = resolve
    })
  }

  #launch(state: SupervisorState, reason: string): void {
    this.#setState(state, reason)
    const { entryPath, environment = {}, launcher = [], spare } = this.#options
    const engine = { ...this.#options.engine, adapters: this.#adapters.all() }
    const client: Client = new EngineClient(
      { entryPath, engine, environment, launcher, spare },
      {
        onProgress: (stage, fraction) => {
          this.#awaitStart(client)
          this.#options.onProgress?.(stage, fraction)
        },
        onReady: (description) => this.#onReady(client, description),
        onStep: (stats) => {
          this.#watchdog?.onStep()
          this.#keep(stats)
        },
        onPong: (nonce, stats) => {
          this.#watchdog?.onPong(nonce)
          this.#keep(stats)
        },
        onTraced: (answer) => this.#traces.shift()?.resolve(answer),
        onLog: (line) => this.#options.onLog?.(line),
        onEnd: (end) => this.#onEnd(end),
      },
    )
    this.#client = client
    this.#awaitStart(client)
  }

  /** Each sign of progress gives the start as much time again. */
  #awaitStart(client: Client): void {
    if (this.#isStopping) return
    const silenceMs = this.#options.startSilenceMs ?? START_SILENCE_MS
    this.#cancelTimer()
    this.#cancelTimer = this.#timer.after(silenceMs, () =>
      client.kill(`it has made no progress in loading for ${Math.round(silenceMs / 1000)} s`),
    )
  }

  #onReady(client: Client, description: EngineDescription): void {
    if (this.#isStopping) return
    this.#cancelTimer()
    this.#loadMs = description.loadMs
    this.#watchdog = new Watchdog(
      client,
      this.#watchdogSettings(description),
      { clock: this.#clock, timer: this.#timer },
      (reason) => client.kill(reason),
    )
    for (const { slot, error } of failuresOf(description.adapters)) {
      this.#options.onAdapterFailed?.(slot, error)
    }
    this.#setState('ready', null)
    this.#started?.resolve(description)
  }

  /** An engine that blocks its thread while a run lasts is silent as long as the run. */
  #watchdogSettings({ blocksThread }: EngineDescription): WatchdogSettings {
    const settings = this.#options.watchdog ?? DEFAULT_WATCHDOG_SETTINGS
    const silenceMs = Math.max(settings.silenceMs, settings.stepMs)
    return blocksThread ? { ...settings, silenceMs } : settings
  }

  #onEnd(end: EngineEnd<SequenceListener>): void {
    this.#cancelTimer()
    this.#watchdog?.stop()
    this.#watchdog = null
    this.#client = null
    this.#stats = null
    const wasReady = this.#state === 'ready'
    if (!this.#isStopping) this.#planRestart(end, wasReady)
    for (const { reject } of this.#traces.splice(0)) reject(this.#lostError(end.reason))
    for (const [id, listener] of end.lost) listener.onLost(id, this.#lostError(end.reason))
    this.#onStopped?.()
  }

  #planRestart(end: EngineEnd<SequenceListener>, wasReady: boolean): void {
    const { reason, error, lastWords } = end
    // What the engine said of its files or options will be as true the next time.
    if (!wasReady && error !== null && !error.retryable) {
      this.#giveUp(reason, reviveServingError(error))
      return
    }
    const readyForMs = wasReady ? this.#clock.nowMs() - this.#stateSinceMs : 0
    const delayMs = this.#policy.delayAfterEnd(readyForMs)
    if (delayMs === null) {
      const { numFailures } = this.#policy
      const details = { numFailures, reason, lastWords: lastWords === '' ? 'none' : lastWords }
      this.#giveUp(
        `it ended ${numFailures} times in a row, last because ${reason}`,
        workerError('WORKER_CRASH_LOOP', { details }),
      )
      return
    }
    this.#restartAtMs = this.#clock.nowMs() + delayMs
    this.#setState('restarting', `the engine ended (${reason}) and is started again`)
    this.#cancelTimer = this.#timer.after(delayMs, () => {
      this.#numRestarts += 1
      this.#launch('restarting', `the engine ended (${reason}) and is loading again`)
    })
  }

  #giveUp(reason: string, error: ServingError): void {
    this.#setState('failed', reason)
    this.#started?.reject(error)
  }

  #lostError(reason: string): ServingError {
    if (this.#isStopping) return workerError('WORKER_STOPPED')
    const retryAfterSeconds = this.#retryAfterSeconds()
    const details = { reason, retryAfterSeconds }
    return workerError('WORKER_ENGINE_DIED', { retryAfterSeconds, details })
  }

  #notReady(): ServingError {
    const reason = this.#reason ?? 'no reason is known'
    if (this.#state === 'failed') return workerError('WORKER_GIVEN_UP', { details: { reason } })
    const retryAfterSeconds = this.#retryAfterSeconds()
    const details = { state: this.#state, reason, retryAfterSeconds }
    return workerError('WORKER_NOT_READY', { retryAfterSeconds, details })
  }

  /** What is left of the wait, and as long as loading took the last time; at least 1. */
  #retryAfterSeconds(): number {
    const waitMs = Math.max(0, this.#restartAtMs - this.#clock.nowMs())
    return Math.max(1, Math.ceil((waitMs + this.#loadMs) / 1000))
  }

  #keep(stats: EngineStats): void {
    this.#stats = stats
    this.#options.onStats?.(stats)
  }

  #setState(state: SupervisorState, reason: string | null): void {
    if (state !== this.#state) this.#stateSinceMs = this.#clock.nowMs()
    this.#state = state
    this.#reason = reason
    this.#options.onStateChange?.(this.status())
  }
}

/** The two ends of a promise; settling it again does nothing. */
interface Settle<T> {
  resolve(value: T): void
  reject(error: Error): void
}
