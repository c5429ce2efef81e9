/**
 * An executor without a model, for the engine's tests: the next token is a hash of the sequence's whole history **as
 * it can be reached through the block table**, so a wrong slot, a lost block, stale KV or a skipped token changes the
 * answer. It also checks every array it is given against `native/binding.ts` and throws where one is wrong.
 *
 * Rows are written in order before any is read, as the paged attention does within a step.
 */

import { makeArrays } from '../../benchmarks/batch-arrays.ts'
import { InvariantError } from '../../src/base/errors.ts'
import type { BatchArrays, BatchLimits, Executor, KvBlocks } from '../../src/engine/executor.ts'
import { MAX_TOP_LOGPROBS, type SamplingParams } from '../../src/sampling/sampling-params.ts'

interface BoundSampler {
  readonly params: SamplingParams
  readonly choice: number
  /** Prompt and drawn tokens, as the sampler was told. */
  readonly tokenIds: number[]
}

export function makeLimits(overrides: Partial<BatchLimits> = {}): BatchLimits {
  return {
    maxNumBatchedTokens: 16,
    maxNumSeqs: 4,
    maxBlocksPerSeq: 16,
    maxLogitsRows: 8,
    blockSize: 4,
    numBlocks: 16,
    vocabSize: 2,
    ...overrides,
  }
}

/** One round of FNV-1a over a 32-bit word. */
function mix(hash: number, word: number): number {
  return Math.imul(hash ^ word, 0x01000193) >>> 0
}

function scramble(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** The token that follows `tokenIds` for a sequence with this seed and choice. */
export function nextTokenOf(
  tokenIds: ArrayLike<number>,
  params: SamplingParams,
  choice: number,
  vocabSize: number,
): number {
  let hash = 0x811c9dc5
  for (let position = 0; position < tokenIds.length; position++)
    hash = mix(mix(hash, position), tokenIds[position]!)
  return drawFrom(hash, params, choice, tokenIds.length, vocabSize)
}

function drawFrom(
  hash: number,
  params: SamplingParams,
  choice: number,
  position: number,
  vocabSize: number,
): number {
  return (
    scramble(mix(mix(mix(hash, Number(params.seed & 0xffffffffn)), choice), position)) % vocabSize
  )
}

/** A logprob that only the same history and token can give. */
export function logprobOf(tokenIds: ArrayLike<number>, end: number, tokenId: number): number {
  let hash = 0x811c9dc5
  for (let position = 0; position < end; position++)
    hash = mix(mix(hash, position), tokenIds[position]!)
  return logprobFrom(hash, tokenId)
}

function logprobFrom(hash: number, tokenId: number): number {
  return -(scramble(mix(hash, tokenId)) % 1024) / 64
}

export class FakeExecutor implements Executor {
  readonly capabilities = {
    supportsPrefixReuse: true,
    supportsDrafts: true,
    isThreadCountInvariant: true,
    answersWhileComputing: true,
  }
  /** Bytes of a block: tokens, then positions, as 32-bit words. */
  readonly kvBlocks: KvBlocks
  /** Slots that count as loaded. */
  readonly adapters = new Set<number>()
  readonly limits: BatchLimits
  readonly arrays: BatchArrays
  /** What each KV slot holds: token, and the position it was written for. */
  readonly #storedTokens: Int32Array
  readonly #storedPositions: Int32Array
  readonly samplers = new Map<number, BoundSampler>()
  numExecutions = 0
  /** Set to make the next execution reject. */
  failure: unknown = null
  /** Set to make a draft model of it: what it draws, instead of what the target would, and no check of its samplers. */
  guess: ((tokenId: number, position: number) => number) | null = null
  /** Set to make rows that draw unusable, for these sampler slots. */
  readonly unusableSlots = new Set<number>()
  #isExecuting = false
  /** Runs before a block moves. */
  duringMove: () => void = () => {}
  /** Runs while a step is under way. */
  duringExecute: (numTokens: number) => void | Promise<void> = () => {}

  constructor(limits: BatchLimits = makeLimits()) {
    this.limits = limits
    this.arrays = makeArrays(limits)
    this.#storedTokens = new Int32Array(limits.numBlocks * limits.blockSize).fill(-1)
    this.#storedPositions = new Int32Array(limits.numBlocks * limits.blockSize).fill(-1)
    this.kvBlocks = this.#makeKvBlocks()
  }

  #makeKvBlocks(): KvBlocks {
    const { blockSize } = this.limits
    const parts = (blockId: number) => {
      check(!this.#isExecuting, 'a block moves while a step is under way')
      check(blockId >= 0 && blockId < this.limits.numBlocks, `block ${blockId} does not exist`)
      const [first, end] = [blockId * blockSize, (blockId + 1) * blockSize]
      return [this.#storedTokens, this.#storedPositions].map((all) => all.subarray(first, end))
    }
    const words = (bytes: Uint8Array) =>
      new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    const read = (blockId: number, into: Int32Array) => {
      this.duringMove()
      for (const [index, part] of parts(blockId).entries()) into.set(part, index * blockSize)
    }
    const write = (blockId: number, from: Int32Array) => {
      this.duringMove()
      for (const [index, part] of parts(blockId).entries())
        part.set(from.subarray(index * blockSize, (index + 1) * blockSize))
    }
    const scratch = new Int32Array(2 * blockSize)
    return {
      blockBytes: 8 * blockSize,
      copyBlocks: (pairs) => {
        for (let at = 0; at < pairs.length; at += 2) {
          read(pairs[at]!, scratch)
          write(pairs[at + 1]!, scratch)
        }
      },
      readBlock: (blockId, into) => read(blockId, words(into)),
      writeBlock: (blockId, from) => write(blockId, words(from)),
    }
  }

  addSequence(
    slot: number,
    params: SamplingParams,
    choice: number,
    promptIds: Int32Array,
    outputIds: Int32Array,
  ): void {
    check(
      slot >= 0 && slot < this.limits.maxNumSeqs && !this.samplers.has(slot),
      `sampler slot ${slot} is not free`,
    )
    this.samplers.set(slot, { params, choice, tokenIds: [...promptIds, ...outputIds] })
  }

  removeSequence(slot: number): void {
    check(this.samplers.delete(slot), `sampler slot ${slot} is not bound`)
  }

  async execute(numTokens: number, numSeqs: number, numLogitsRows: number): Promise<void> {
    this.numExecutions += 1
    this.#isExecuting = true
    try {
      await this.duringExecute(numTokens)
    } finally {
      this.#isExecuting = false
    }
    if (this.failure !== null) {
      const failure = this.failure
      this.failure = null
      throw failure
    }
    this.compute(numTokens, numSeqs, numLogitsRows)
  }

  async close(): Promise<void> {}

  /** The whole step without a promise; what the allocation test drives. */
  compute(numTokens: number, numSeqs: number, numLogitsRows: number): void {
    this.#checkCounts(numTokens, numSeqs, numLogitsRows)
    this.#store(numTokens, numSeqs)
    let seq = 0
    let previousRow = -1
    for (let index = 0; index < numLogitsRows; index++) {
      const row = this.arrays.logitsRows[index]!
      check(row > previousRow && row < numTokens, 'logits rows are not ascending rows of the step')
      previousRow = row
      while (row >= this.arrays.queryStarts[seq + 1]!) seq += 1
      this.#sample(index, row, seq)
    }
  }

  #checkCounts(numTokens: number, numSeqs: number, numLogitsRows: number): void {
    const { limits, arrays } = this
    check(
      numTokens >= 1 && numTokens <= limits.maxNumBatchedTokens,
      `a step of ${numTokens} tokens`,
    )
    check(numSeqs >= 1 && numSeqs <= limits.maxNumSeqs, `a step of ${numSeqs} sequences`)
    check(
      numLogitsRows >= 0 && numLogitsRows <= limits.maxLogitsRows,
      `a step of ${numLogitsRows} logits rows`,
    )
    check(
      arrays.queryStarts[0] === 0 && arrays.queryStarts[numSeqs] === numTokens,
      'query starts do not cover the rows',
    )
  }

  #store(numTokens: number, numSeqs: number): void {
    const { arrays, limits } = this
    for (let seq = 0; seq < numSeqs; seq++) {
      const start = arrays.queryStarts[seq]!
      const end = arrays.queryStarts[seq + 1]!
      check(end > start, 'a sequence has no row in the step')
      check(this.samplers.has(arrays.sequenceSlots[seq]!), 'a sequence has no sampler slot')
      check(
        arrays.contextLengths[seq] === arrays.positions[end - 1]! + 1,
        'the context ends before or after the chunk',
      )
      for (let row = start; row < end; row++) {
        const position = arrays.positions[row]!
        check(
          row === start || position === arrays.positions[row - 1]! + 1,
          'positions of a chunk are not contiguous',
        )
        check(
          arrays.slotMapping[row] === this.#slotOf(seq, position),
          'slot and block table disagree',
        )
        check(
          arrays.tokenIds[row]! >= 0 && arrays.tokenIds[row]! < limits.vocabSize,
          'a token is out of range',
        )
        this.#storedTokens[arrays.slotMapping[row]!] = arrays.tokenIds[row]!
        this.#storedPositions[arrays.slotMapping[row]!] = position
      }
    }
    for (let row = 0; row < numTokens; row++) {
      // Had two rows the same slot, the later one would have overwritten the earlier one's position.
      const slot = arrays.slotMapping[row]!
      check(this.#storedTokens[slot] === arrays.tokenIds[row], 'two rows of a step share a slot')
      check(
        this.#storedPositions[slot] === arrays.positions[row],
        'two rows of a step share a slot',
      )
    }
  }

  #slotOf(seq: number, position: number): number {
    const { blockSize, maxBlocksPerSeq } = this.limits
    const index = Math.floor(position / blockSize)
    return (
      this.arrays.blockTables[seq * maxBlocksPerSeq + index]! * blockSize + (position % blockSize)
    )
  }

  #sample(index: number, row: number, seq: number): void {
    const { arrays, limits } = this
    const end = arrays.positions[row]! + 1
    let hash = 0x811c9dc5
    for (let position = 0; position < end; position++) {
      const slot = this.#slotOf(seq, position)
      check(
        this.#storedPositions[slot] === position,
        `position ${position} is not in its slot: lost or overwritten`,
      )
      hash = mix(mix(hash, position), this.#storedTokens[slot]!)
    }
    check(arrays.samplePositions[index] === end, 'the position of a draw does not follow its row')
    const slot = arrays.samplerSlots[index]!
    const tokenId = slot < 0 ? arrays.targetIds[index]! : this.#draw(hash, slot, seq, end, index)
    arrays.sampledIds[index] = tokenId
    arrays.sampledLogprobs[index] = logprobFrom(hash, tokenId)
    arrays.sampledRanks[index] = 1 + tokenId
    for (let top = 0; top < arrays.topLogprobCounts[index]!; top++) {
      arrays.topIds[index * MAX_TOP_LOGPROBS + top] = top % limits.vocabSize
      arrays.topLogprobs[index * MAX_TOP_LOGPROBS + top] = logprobFrom(hash, top % limits.vocabSize)
    }
  }

  #draw(hash: number, slot: number, seq: number, end: number, index: number): number {
    const sampler = this.samplers.get(slot)
    if (sampler === undefined)
      throw new InvariantError('FAKE', `sampler slot ${slot} draws but is not bound`)
    // The first row of a sampler in a step follows tokens that are certain. It may have drawn beyond them in the step
    // before, after guesses that were wrong.
    if (this.guess !== null) {
      const drawn = drawFrom(hash, sampler.params, sampler.choice, end, this.limits.vocabSize)
      return this.unusableSlots.has(slot) ? -1 : this.guess(drawn, end)
    }
    const isFirst = index === 0 || this.arrays.samplerSlots[index - 1] !== slot
    if (isFirst) {
      check(sampler.tokenIds.length >= end, 'the sampler has seen fewer tokens than were computed')
      sampler.tokenIds.length = end
    }
    if (!isFirst && this.unusableSlots.has(slot)) return -1
    check(sampler.tokenIds.length === end, 'rows of one sampler are not in order')
    for (let position = 0; position < end; position++) {
      const stored = this.#storedTokens[this.#slotOf(seq, position)]
      const isSame = stored === sampler.tokenIds[position]
      check(isSame || !isFirst, 'the sampler belongs to another sequence')
    }
    if (this.unusableSlots.has(slot)) return -1
    const tokenId = drawFrom(hash, sampler.params, sampler.choice, end, this.limits.vocabSize)
    sampler.tokenIds.push(tokenId)
    return tokenId
  }
}

/** A wrong array is the engine's bug, so it stops the engine instead of failing a sequence. */
function check(condition: boolean, what: string): void {
  if (!condition) throw new InvariantError('FAKE', what)
}
