/**
 * Sequences that wait for blocks from the tier. They have left the queue, so nobody waits behind them, and come back to
 * their place in it when the blocks are there; what was not found is computed.
 *
 *   queue ── begin ──▶ restoring: asked for, in order, while memory for them lasts ── collect ──▶ front of its queue
 *
 * Owns who is in here. A sequence is asked for once between two admissions. Does not know files or the pool.
 * R1 A sequence in here is in no queue, and has `restore` = `under way`.
 */

import { invariant } from '../base/errors.ts'
import type { ColdBlocks } from './cold-blocks.ts'
import type { KvKey } from './kv-tier.ts'
import { numReusableTokens } from './logits-rows.ts'
import { recomputeMs } from './recompute-ms.ts'
import type { Sequence } from './sequence.ts'
import type { StepCostModel } from './step-cost-model.ts'

/** Of blocks that were asked for and are not yet in the pool. */
const MOST_BYTES = 256 * 2 ** 20

export class Restores {
  readonly #cold: ColdBlocks
  readonly #model: StepCostModel
  readonly #blockSize: number
  readonly #blockBytes: number
  readonly #waiting = new Map<Sequence, { readonly firstBlock: number; keys: readonly KvKey[] }>()
  readonly #loading = new Set<Sequence>()
  #done: Sequence[] = []
  #numHeldBytes = 0
  #wake: () => void = () => {}

  constructor(
    cold: ColdBlocks,
    model: StepCostModel,
    { blockSize }: { readonly blockSize: number },
    { blockBytes }: { readonly blockBytes: number },
  ) {
    this.#cold = cold
    this.#model = model
    this.#blockSize = blockSize
    this.#blockBytes = blockBytes
  }

  get size(): number {
    return this.#waiting.size + this.#loading.size + this.#done.length
  }

  /**
   * Take a sequence in that is about to be let in with `firstBlock` blocks found, when more of it lies in the tier and is
   * predicted to be there sooner than computed.
   */
  begin(sequence: Sequence, firstBlock: number, parent: KvKey | null): boolean {
    if (sequence.restore !== 'untried') return false
    sequence.restore = 'tried'
    const keys = this.#cold.find(sequence, firstBlock, parent, numReusableTokens(sequence))
    const computeMs = recomputeMs(
      this.#model,
      firstBlock * this.#blockSize,
      keys.length * this.#blockSize,
    )
    if (keys.length === 0 || keys.length * this.#cold.tier.loadBlockMs >= computeMs) return false
    sequence.restore = 'under way'
    this.#waiting.set(sequence, { firstBlock, keys })
    this.#loadNext()
    return true
  }

  /** Those whose blocks are there, or are not to be had. */
  collect(): readonly Sequence[] {
    if (this.#done.length === 0) return this.#done
    const done = this.#done
    this.#done = []
    for (const sequence of done) sequence.restore = 'tried'
    return done
  }

  /** It has ended meanwhile. */
  remove(sequence: Sequence): void {
    const isDone = this.#done.includes(sequence)
    const wasHere = this.#waiting.delete(sequence) || this.#loading.delete(sequence) || isDone
    invariant(wasHere, 'R1', 'a sequence that is not restored is taken out of the restores')
    if (isDone) this.#done = this.#done.filter((other) => other !== sequence)
    sequence.restore = 'tried'
  }

  /** Resolves when something has changed: blocks came, or `wake` was called. */
  wait(): Promise<void> {
    if (this.#done.length > 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Somebody came or went. */
  wake(): void {
    this.#wake()
  }

  #loadNext(): void {
    for (const [sequence, { firstBlock, keys }] of this.#waiting) {
      const numBytes = keys.length * this.#blockBytes
      if (this.#numHeldBytes > 0 && this.#numHeldBytes + numBytes > MOST_BYTES) return
      this.#waiting.delete(sequence)
      this.#loading.add(sequence)
      this.#numHeldBytes += numBytes
      void this.#load(sequence, firstBlock, keys)
    }
  }

  async #load(sequence: Sequence, firstBlock: number, keys: readonly KvKey[]): Promise<void> {
    const { tier } = this.#cold
    const blocks = await tier.load(keys)
    const release = () => {
      tier.giveBack(blocks)
      this.#numHeldBytes -= keys.length * this.#blockBytes
      this.#loadNext()
    }
    if (!this.#loading.delete(sequence) || blocks.length === 0) release()
    else {
      const numTokens = (firstBlock + blocks.length) * this.#blockSize
      sequence.parked = { firstBlock, numTokens, blocks, origin: 'tier', release }
    }
    if (sequence.restore === 'under way') this.#done.push(sequence)
    this.#wake()
  }

  checkIntegrity(): void {
    for (const list of [this.#waiting.keys(), this.#loading, this.#done]) {
      for (const sequence of list)
        invariant(sequence.restore === 'under way', 'R1', 'a restored sequence does not say so')
    }
  }
}
