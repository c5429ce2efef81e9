/**
 * One token stream: what is known, what is computed, and where its KV lies.
 *
 *   0 ──── numComputedTokens ──── numTokens ──── capacity      positions of `tokenIds`
 *   [ KV is stored )[ known, to compute )[ guesses, then room for draws )
 *
 * Owns its tokens and its block table. Does not know the pool, the batch or other sequences; the scheduler moves it
 * through its life, `commit` appends to it.
 * Invariants:
 * Q1 0 ≤ numComputedTokens < numTokens ≤ capacity while it is not finished: the last known token is never computed
 *    before it is needed to draw the next.
 * Q2 The block table is only appended to, and emptied as a whole; blocks that only rejected guesses had are cut off.
 * Q3 A token once appended never changes; preemption keeps it.
 */

import { invariant } from '../base/errors.ts'
import type { SequenceId } from '../base/ids.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'
import type { DraftState } from './draft-state.ts'
import type { KvKey } from './kv-tier.ts'
import type { ParkedKv } from './parked-kv.ts'
import { TIER_RANK } from './service-tier.ts'
import type { Tenant } from './tenant.ts'
import type { SequenceSpec } from './updates.ts'

/** In the order of life: `status >= finishedStop` is finished. */
export const SequenceStatus = {
  waiting: 0,
  preempted: 1,
  running: 2,
  finishedStop: 3,
  finishedLength: 4,
  finishedCancelled: 5,
  finishedError: 6,
} as const
export type SequenceStatus = (typeof SequenceStatus)[keyof typeof SequenceStatus]

export interface SequenceOptions {
  /** Tokens it may ever hold: prompt and answer, bounded by the context. */
  readonly capacity: number
  readonly blockSize: number
  /** Ids that end it: the request's own and, unless ignored, the model's. */
  readonly stopTokenIds: Int32Array
  /** What the sampler is told; differs from the request only in the ids to mask before `minTokens`. */
  readonly samplerParams: SamplingParams
  readonly arrivalMs: number
  /** Rank by arrival in this engine; smaller is older. */
  readonly arrivalIndex: number
}

const NOTHING: Int32Array = new Int32Array(0)

export class Sequence {
  readonly id: SequenceId
  readonly params: SamplingParams
  readonly samplerParams: SamplingParams
  readonly choice: number
  readonly promptIds: Int32Array
  readonly numPromptTokens: number
  readonly capacity: number
  readonly stopTokenIds: Int32Array
  /** `[CACHE_DOMAIN_WORDS]`: only sequences of one domain find each other's KV. */
  readonly cacheDomain: Int32Array
  /** Slot of its adapter; 0 = none. */
  readonly adapter: number
  readonly tenantName: string
  readonly arrivalMs: number
  readonly arrivalIndex: number
  /** Milliseconds of the engine's clock until which it may wait for its first admission. */
  readonly deadlineMs: number

  status: SequenceStatus
  /** Of its service tier, 0 = first; raised when it was let past a higher tier. */
  rank: number
  /** From the queue's door to its end; owned by `FairQueue`. */
  tenant: Tenant | null
  /** Tokens that its tenant's work counts already. */
  numChargedTokens: number
  /** Owned by `Deadlines`. */
  deadlineIndex: number
  /** Known tokens, prompt first; the prompt itself until `reserve`, then `[capacity]`. */
  tokenIds: Int32Array
  numTokens: number
  numComputedTokens: number
  /** Tokens given to the step at hand. */
  numScheduledTokens: number
  /** Guesses behind the known tokens that the step at hand computes too; owned by `Drafts` and the scheduler. */
  numDraftTokens: number
  /** Null where nothing may be guessed. */
  draft: DraftState | null
  /** Block ids by logical position, `[blocks of capacity]`; the first `numBlocks` are valid. */
  blockTable: Int32Array
  numBlocks: number
  /** Raised whenever ids leave the table, for whoever keeps a copy of it. */
  tableVersion: number
  /** Sampler slot while running; -1 otherwise. */
  samplerSlot: number
  /** First position whose row still has to report a prompt logprob; numPromptTokens - 1 when none has to. */
  nextPromptRow: number
  /** Blocks of the table that the prefix cache has been told of, and the serial of the last; owned by `PrefixCache`. */
  numPublishedBlocks: number
  prefixSerial: number
  /** The name of that block in the tier; null without one, and before the first. */
  prefixKey: KvKey | null
  /** KV outside of the pool while it waits; owned by `KvReuse`. */
  parked: ParkedKv | null
  /** Whether the tier was asked since it was last put out; owned by `Restores`. */
  restore: 'untried' | 'under way' | 'tried'
  /** A block of its leader's that is held for it until it comes in; -1 = none. Owned by `SharedTails`. */
  tailBlock: number
  /** Tokens whose KV was found when it was first admitted; -1 before. */
  numCachedTokens: number
  /** Times it lost its blocks. */
  numPreemptions: number
  /** -1 until it happens. */
  admittedMs: number
  firstTokenMs: number
  /** Token that ended it when the status is `finishedStop`; -1 otherwise. */
  stopTokenId: number
  isCancelRequested: boolean
  readonly #blockSize: number

  /** Whom it waits for, and who waits for it; owned by `Followers`. */
  leader: Sequence | null
  followers: Sequence[]
  /** Neighbours in the list it waits in; owned by `WaitingQueue`. */
  queuePrevious: Sequence | null
  queueNext: Sequence | null

  constructor(spec: SequenceSpec, options: SequenceOptions) {
    this.id = spec.id
    this.params = spec.params
    this.adapter = spec.adapter ?? 0
    this.samplerParams = options.samplerParams
    this.choice = spec.choice
    this.promptIds = spec.promptIds
    this.numPromptTokens = spec.promptIds.length
    this.capacity = options.capacity
    this.stopTokenIds = options.stopTokenIds
    this.cacheDomain = spec.cacheDomain
    this.arrivalMs = options.arrivalMs
    this.arrivalIndex = options.arrivalIndex
    this.tenantName = spec.tenant
    this.deadlineMs = options.arrivalMs + (spec.maxQueueMs ?? Number.POSITIVE_INFINITY)
    this.status = SequenceStatus.waiting
    this.rank = TIER_RANK[spec.tier]
    this.tenant = null
    this.numChargedTokens = 0
    this.deadlineIndex = -1
    this.tokenIds = spec.promptIds
    this.numTokens = spec.promptIds.length
    this.numComputedTokens = 0
    this.numScheduledTokens = 0
    this.numDraftTokens = 0
    this.draft = null
    this.blockTable = NOTHING
    this.numBlocks = 0
    this.tableVersion = 0
    this.samplerSlot = -1
    this.nextPromptRow = spec.params.promptLogprobs === null ? this.numPromptTokens - 1 : 0
    this.numPublishedBlocks = 0
    this.prefixSerial = 0
    this.prefixKey = null
    this.parked = null
    this.restore = 'untried'
    this.tailBlock = -1
    this.numCachedTokens = -1
    this.numPreemptions = 0
    this.admittedMs = -1
    this.firstTokenMs = -1
    this.stopTokenId = -1
    this.isCancelRequested = false
    this.#blockSize = options.blockSize
    this.leader = null
    this.followers = []
    this.queuePrevious = null
    this.queueNext = null
  }

  get isFinished(): boolean {
    return this.status >= SequenceStatus.finishedStop
  }

  get numOutputTokens(): number {
    return this.numTokens - this.numPromptTokens
  }

  /** Drawn tokens so far. Allocates a view: for admission, not for a step. */
  outputIds(): Int32Array {
    return this.tokenIds.subarray(this.numPromptTokens, this.numTokens)
  }

  /** Make room for every token and block it may ever need. Called at the first admission, so that waiting is cheap. */
  reserve(): void {
    if (this.blockTable !== NOTHING) return
    const tokenIds = new Int32Array(this.capacity)
    tokenIds.set(this.promptIds)
    this.tokenIds = tokenIds
    this.blockTable = new Int32Array(Math.ceil(this.capacity / this.#blockSize))
  }

  /** Append a drawn token. */
  append(tokenId: number): void {
    invariant(
      this.numTokens < this.capacity,
      'Q1',
      'a token is appended to a sequence that is full',
    )
    this.tokenIds[this.numTokens] = tokenId
    this.numTokens += 1
  }
}
