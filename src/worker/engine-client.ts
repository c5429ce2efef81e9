/**
 * The API process's end of one engine process: makes it, hands sequences in, gives updates out, tells of its end. Owns
 * the child and the sequences inside it. Does not restart anything. JavaScript thread only.
 *
 * Invariants:
 * C1 Each submitted sequence gets either an update with a `finish`, or is among the `lost` of the one `onEnd`.
 * C2 All submits and cancels between two turns of the event loop go out in one message; while the channel is full they
 *    gather and go out together when it has drained.
 * C3 `onEnd` is the last event, and comes also when the process could not be made.
 */

import type { ChildProcess } from 'node:child_process'
import type { WireError } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import { AdapterAnswers } from './adapter-answers.ts'
import { workerError } from './errors.ts'
import { type EngineProgram, forkEngine, type SpareEngine } from './fork-engine.ts'
import { LineForwarder } from './line-forwarder.ts'
import type {
  AdapterSpec,
  EngineDescription,
  EngineOptions,
  EngineStats,
  FromEngine,
  SequenceSpec,
  SequenceUpdate,
  ToEngine,
  TraceAction,
  TraceAnswer,
} from './messages.ts'

/** Called on the event loop, never from inside `submit`. */
export interface UpdateListener {
  onUpdate(update: SequenceUpdate): void
}

export interface EngineEnd<Listener> {
  /** In words for a sentence: `killed by SIGKILL`, `exit code 70: …`. */
  readonly reason: string
  /** What the engine said of itself before it ended. */
  readonly error: WireError | null
  /** The last lines that it wrote. */
  readonly lastWords: string
  readonly lost: readonly (readonly [id: SequenceId, listener: Listener])[]
}

export interface EngineClientEvents<Listener> {
  onProgress(stage: string, fraction: number): void
  onReady(description: EngineDescription): void
  /** After the listeners of the step's updates. */
  onStep(stats: EngineStats): void
  onPong(nonce: number, stats: EngineStats): void
  onTraced(answer: TraceAnswer): void
  /** A line of its stdout or stderr. */
  onLog(line: string): void
  onEnd(end: EngineEnd<Listener>): void
}

export interface EngineProcessOptions extends EngineProgram {
  readonly engine: EngineOptions
  /** Taken instead of a new process where it fits. */
  readonly spare?: SpareEngine | undefined
}

const CHANNEL_CLOSED_GRACE_MS = 2_000

export class EngineClient<Listener extends UpdateListener> {
  readonly #events: EngineClientEvents<Listener>
  readonly #child: ChildProcess
  readonly #lines: LineForwarder
  readonly #listeners = new Map<SequenceId, Listener>()
  readonly #adapterAnswers = new AdapterAnswers()
  #adds: SequenceSpec[] = []
  #cancels: SequenceId[] = []
  #isFlushing = false
  #isChannelFull = false
  #failure: WireError | null = null
  #killReason: string | null = null
  #hasEnded = false

  constructor(options: EngineProcessOptions, events: EngineClientEvents<Listener>) {
    this.#events = events
    this.#lines = new LineForwarder((line) => events.onLog(line))
    this.#child = options.spare?.take(options) ?? forkEngine(options)
    if (this.#child.stdout !== null) this.#lines.forward(this.#child.stdout)
    if (this.#child.stderr !== null) this.#lines.forward(this.#child.stderr)
    this.#child.on('message', (message) => this.#receive(message as FromEngine))
    this.#child.on('error', (error) => this.#onChildError(error))
    this.#child.on('disconnect', () => this.#endSoon())
    // Not `exit`: after `close` the channel and both streams have been read to their ends.
    this.#child.on('close', (code, signal) => this.#end(exitReason(code, signal)))
    this.#send({ type: 'start', options: options.engine })
  }

  get pid(): number | null {
    return this.#child.pid ?? null
  }

  get numSequences(): number {
    return this.#listeners.size
  }

  /** Hand sequences over; they leave with the next turn of the event loop. */
  submit(sequences: readonly SequenceSpec[], listener: Listener): void {
    for (const spec of sequences) {
      this.#listeners.set(spec.id, listener)
      this.#adds.push(spec)
    }
    this.#flushSoon()
  }

  /** Ask for an end; the last update still comes. Ids that have ended are ignored. */
  cancel(ids: Iterable<SequenceId>): void {
    for (const id of ids) if (this.#listeners.has(id)) this.#cancels.push(id)
    this.#flushSoon()
  }

  /** @throws ServingError what the engine says of the adapter, or WORKER_ENGINE_DIED */
  loadAdapter(adapter: AdapterSpec): Promise<void> {
    return this.#askOfAdapter(adapter.slot, { type: 'load-adapter', adapter })
  }

  /** @throws ServingError WORKER_ADAPTER_IN_USE, WORKER_ENGINE_DIED */
  unloadAdapter(slot: number): Promise<void> {
    return this.#askOfAdapter(slot, { type: 'unload-adapter', slot })
  }

  ping(nonce: number): void {
    this.#send({ type: 'ping', nonce })
  }

  trace(action: TraceAction): void {
    this.#send({ type: 'trace', action })
  }

  /** Cancel everything and ask the process to end itself. */
  stop(): void {
    this.cancel(this.#listeners.keys())
    this.#flush()
    this.#send({ type: 'stop' })
  }

  /** End the process at once. @param reason - told in `onEnd` instead of the signal */
  kill(reason: string): void {
    this.#killReason ??= reason
    this.#child.kill('SIGKILL')
  }

  #flushSoon(): void {
    if (this.#isFlushing) return
    this.#isFlushing = true
    setImmediate(() => {
      this.#isFlushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isChannelFull || this.#adds.length + this.#cancels.length === 0) return
    const add = this.#adds
    const cancel = this.#cancels
    this.#adds = []
    this.#cancels = []
    this.#send({ type: 'work', add, cancel })
  }

  #askOfAdapter(slot: number, message: ToEngine): Promise<void> {
    if (this.#hasEnded) return Promise.reject(deathOf('it had ended'))
    const answer = this.#adapterAnswers.next(slot)
    this.#send(message)
    return answer
  }

  #send(message: ToEngine): void {
    // A process that could not be made, or is going, has no channel; `close` or `error` tells of it.
    if (!this.#child.connected) return
    const hasRoom = this.#child.send(message, (error) => {
      if (error !== null) return
      this.#isChannelFull = false
      this.#flush()
    })
    if (!hasRoom) this.#isChannelFull = true
  }

  #receive(message: FromEngine): void {
    switch (message.type) {
      case 'step':
        for (const update of message.updates) this.#give(update)
        this.#events.onStep(message.stats)
        break
      case 'adapter':
        this.#adapterAnswers.settle(message)
        break
      case 'pong':
        this.#events.onPong(message.nonce, message.stats)
        break
      case 'traced':
        this.#events.onTraced(message.answer)
        break
      case 'progress':
        this.#events.onProgress(message.stage, message.fraction)
        break
      case 'ready':
        this.#events.onReady(message.description)
        break
      case 'failed':
        this.#failure = message.error
    }
  }

  #give(update: SequenceUpdate): void {
    const listener = this.#listeners.get(update.id)
    if (update.finish !== null) this.#listeners.delete(update.id)
    listener?.onUpdate(update)
  }

  /** The process could not be made, or a message or signal could not reach it; only the first means no `close`. */
  #onChildError(error: Error): void {
    if (this.#child.pid === undefined) this.#end(`it could not be started: ${error.message}`)
    else this.kill(`its channel failed: ${error.message}`)
  }

  /** Without its channel it is of no use; it should be ending itself. */
  #endSoon(): void {
    const timer = setTimeout(() => this.kill('it closed its channel'), CHANNEL_CLOSED_GRACE_MS)
    this.#child.once('close', () => clearTimeout(timer))
  }

  #end(exit: string): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    const lost = [...this.#listeners]
    this.#listeners.clear()
    const said = this.#failure === null ? exit : `${exit}: ${this.#failure.message}`
    const reason = this.#killReason ?? said
    this.#adapterAnswers.rejectAll(deathOf(reason))
    this.#events.onEnd({ reason, error: this.#failure, lastWords: this.#lines.lastWords, lost })
  }
}

function deathOf(reason: string) {
  return workerError('WORKER_ENGINE_DIED', { details: { reason, retryAfterSeconds: 1 } })
}

function exitReason(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `exit code ${code}` : `killed by ${signal}`
}
