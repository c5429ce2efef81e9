/**
 * What each step did, for people: who ran, how many tokens, whose blocks, and why the next one in turn waited. Becomes
 * Chrome trace JSON, which Perfetto and chrome://tracing open:
 *
 *   track "steps"        ▐ 42 tokens, 3 sequences ▌▐ …         one slice a step, its counts as arguments
 *   track "sequence 7"   ▐ prompt 39 ▌▐ decode ▌▐ decode + 4 ▌  one slice a step that computed it, and marks between
 *
 * Switched on and off at run time; off, it costs one comparison a step. Holds no token ids and no text. Allocates, as
 * only what is switched on may. Bounded: after `MOST_EVENTS` it stops taking steps and says so.
 * Source: Trace Event Format, docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
 */

import type { InputBatch } from './input-batch.ts'
import type { Scheduler } from './scheduler.ts'
import type { Sequence } from './sequence.ts'

interface TraceEvent {
  readonly name: string
  /** X = slice, i = mark, C = counter, M = metadata. */
  readonly ph: 'X' | 'i' | 'C' | 'M'
  /** Microseconds. */
  readonly ts: number
  readonly dur?: number
  readonly pid: number
  readonly tid: number
  readonly s?: 't'
  readonly args: Readonly<Record<string, string | number | null>>
}

const PID = 1
const STEPS_TRACK = 0
/** Some 100 MB of JSON. */
const MOST_EVENTS = 500_000

export class StepTrace {
  readonly #events: TraceEvent[] = []
  readonly #named = new Set<number>()
  #startMs = 0
  #isFull = false

  constructor() {
    this.#name(STEPS_TRACK, 'steps')
  }

  get isFull(): boolean {
    return this.#isFull
  }

  /** A draft model has guessed for the step to come. */
  guessed(startMs: number, endMs: number, running: readonly Sequence[]): void {
    if (this.#isFull) return
    let numGuesses = 0
    for (const { draft } of running) numGuesses += draft?.numModelGuesses ?? 0
    this.#startMs = startMs
    this.#slice(STEPS_TRACK, `draft model: ${numGuesses} guesses`, endMs, { guesses: numGuesses })
  }

  /** A step that was computed and is not committed yet. */
  record(batch: InputBatch, scheduler: Scheduler, startMs: number, endMs: number): void {
    const { sequences, numSeqs, numTokens } = batch
    this.begin(startMs)
    for (let row = 0; row < numSeqs; row++) this.share(sequences[row]!, endMs)
    this.end(endMs, numTokens, numSeqs, scheduler)
  }

  /** The step was scheduled and will be computed. */
  begin(startMs: number): void {
    this.#startMs = startMs
    this.#isFull = this.#events.length > MOST_EVENTS
  }

  /** Of one sequence in the step, before its tokens are committed. */
  share(sequence: Sequence, endMs: number): void {
    if (this.#isFull) return
    const { numScheduledTokens, numDraftTokens, numTokens, numComputedTokens } = sequence
    const isStream = numTokens - numComputedTokens === 1
    const kind = isStream ? 'decode' : `prompt ${numScheduledTokens}`
    this.#slice(sequence.id, numDraftTokens > 0 ? `${kind} + ${numDraftTokens}` : kind, endMs, {
      tokens: numScheduledTokens,
      computed: numComputedTokens,
      known: numTokens,
      blocks: sequence.numBlocks,
      rank: sequence.rank,
    })
  }

  /** The step is over. */
  end(endMs: number, numTokens: number, numSeqs: number, scheduler: Scheduler): void {
    if (this.#isFull) return
    for (const { id, numCachedTokens } of scheduler.admitted)
      this.#mark(id, 'admitted', { cached: Math.max(0, numCachedTokens) })
    for (const { id } of scheduler.preempted) this.#mark(id, 'preempted', {})
    for (const { id } of scheduler.expired) this.#mark(id, 'given up: waited too long', {})
    const { blockedId, blockedBy, pool, numWaiting } = scheduler
    this.#slice(STEPS_TRACK, `${numTokens} tokens, ${numSeqs} sequences`, endMs, {
      tokens: numTokens,
      sequences: numSeqs,
      waiting: numWaiting,
      next: blockedId,
      'next waits for': blockedBy,
    })
    const free = { blank: pool.numFree - pool.numCachedFree, cached: pool.numCachedFree }
    this.#push({ name: 'free blocks', ph: 'C', ts: this.#ts, pid: PID, tid: 0, args: free })
  }

  /** The whole trace as a file that Perfetto opens. */
  toJson(): string {
    return JSON.stringify({ traceEvents: this.#events, displayTimeUnit: 'ms' })
  }

  get #ts(): number {
    return Math.round(this.#startMs * 1000)
  }

  #slice(tid: number, name: string, endMs: number, args: TraceEvent['args']): void {
    this.#name(tid, `sequence ${tid}`)
    const dur = Math.round((endMs - this.#startMs) * 1000)
    this.#push({ name, ph: 'X', ts: this.#ts, dur, pid: PID, tid, args })
  }

  #mark(tid: number, name: string, args: TraceEvent['args']): void {
    this.#name(tid, `sequence ${tid}`)
    this.#push({ name, ph: 'i', ts: this.#ts, pid: PID, tid, s: 't', args })
  }

  #name(tid: number, name: string): void {
    if (this.#named.has(tid)) return
    this.#named.add(tid)
    this.#push({ name: 'thread_name', ph: 'M', ts: 0, pid: PID, tid, args: { name } })
  }

  #push(event: TraceEvent): void {
    this.#events.push(event)
  }
}
