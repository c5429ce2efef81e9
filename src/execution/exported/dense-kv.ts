/**
 * Keys and values of one sequence, a dense tensor `[1, numKvHeads, tokens, headDim]` for each layer's keys and values,
 * as an exported graph takes its past and gives its present.
 *
 *   shared         past and present are one buffer with room for later tokens; the graph writes behind the past
 *   concatenated   the graph writes past and new rows into the other buffer of a pair; the two change places
 *
 * Owns the buffers, which grow by a block of the engine, so that blocks count what is held. Does not know graphs or schedulers.
 * K1 The first `numTokens` tokens are stored; `prepare` may only go back among them, never leave a gap.
 */

import { invariant } from '../../base/errors.ts'

export type KvArray = Float32Array | Uint16Array

export interface DenseKvShape {
  /** Keys and values of all layers. */
  readonly numTensors: number
  readonly numKvHeads: number
  readonly headDim: number
  readonly type: 'F32' | 'F16'
  readonly isShared: boolean
  readonly maxTokens: number
  /** Room is made for so many tokens at a time. */
  readonly growTokens: number
}

/** A buffer's part that is one tensor. */
export interface KvView {
  readonly data: KvArray
  readonly dims: readonly [1, number, number, number]
}

interface Storage {
  /** Tokens it has room for. */
  readonly capacity: number
  readonly arrays: readonly KvArray[]
}

const EMPTY: Storage = { capacity: 0, arrays: [] }

export class DenseKv {
  readonly #shape: DenseKvShape
  #past: Storage = EMPTY
  #present: Storage = EMPTY
  #numTokens = 0
  #end = 0

  constructor(shape: DenseKvShape) {
    this.#shape = shape
  }

  get numTokens(): number {
    return this.#numTokens
  }

  /**
   * Make ready for a run that computes positions `start` to `end`. Tokens from `start` on are forgotten.
   *
   * Cost: going back copies what stays; growing a shared buffer copies it.
   */
  prepare(start: number, end: number): void {
    const { isShared, maxTokens } = this.#shape
    invariant(start <= this.#numTokens && end <= maxTokens, 'K1', 'a run leaves a gap in the past')
    if (start < this.#numTokens && !isShared) this.#goBack(start)
    this.#numTokens = start
    this.#end = end
    const target = isShared ? this.#past : this.#present
    if (target.capacity >= end && target.capacity > 0) return
    const grown = this.#allocate(end)
    if (isShared) this.#moveInto(grown)
    else this.#present = grown
  }

  past(index: number): KvView {
    return this.#shape.isShared
      ? this.#whole(index)
      : this.#view(this.#past, index, this.#numTokens)
  }

  present(index: number): KvView {
    return this.#shape.isShared ? this.#whole(index) : this.#view(this.#present, index, this.#end)
  }

  /** The run has ended well: its rows are the past now. */
  commit(): void {
    if (!this.#shape.isShared) [this.#past, this.#present] = [this.#present, this.#past]
    this.#numTokens = this.#end
  }

  #whole(index: number): KvView {
    const { numKvHeads, headDim } = this.#shape
    const { arrays, capacity } = this.#past
    return { data: arrays[index]!, dims: [1, numKvHeads, capacity, headDim] }
  }

  #view({ arrays }: Storage, index: number, numTokens: number): KvView {
    const { numKvHeads, headDim, type } = this.#shape
    const empty = type === 'F32' ? new Float32Array(0) : new Uint16Array(0)
    const data = arrays[index]?.subarray(0, numKvHeads * numTokens * headDim) ?? empty
    return { data, dims: [1, numKvHeads, numTokens, headDim] }
  }

  #allocate(numTokens: number): Storage {
    const { numTensors, numKvHeads, headDim, type, growTokens } = this.#shape
    const capacity = Math.ceil(numTokens / growTokens) * growTokens
    const length = numKvHeads * capacity * headDim
    const arrays = Array.from({ length: numTensors }, () =>
      type === 'F32' ? new Float32Array(length) : new Uint16Array(length),
    )
    return { capacity, arrays }
  }

  /** Heads lie apart by the capacity, so each moves by itself. */
  #moveInto(grown: Storage): void {
    const { numKvHeads, headDim } = this.#shape
    const stored = this.#numTokens * headDim
    const from = this.#past.capacity * headDim
    const to = grown.capacity * headDim
    for (const [index, array] of this.#past.arrays.entries()) {
      for (let head = 0; head < numKvHeads; head++) {
        grown.arrays[index]!.set(array.subarray(head * from, head * from + stored), head * to)
      }
    }
    this.#past = grown
  }

  /** Heads lie apart by the tokens that are stored, so each moves forward. */
  #goBack(numTokens: number): void {
    const { numKvHeads, headDim } = this.#shape
    const from = this.#numTokens * headDim
    const to = numTokens * headDim
    for (const array of this.#past.arrays) {
      for (let head = 1; head < numKvHeads; head++) {
        array.copyWithin(head * to, head * from, head * from + to)
      }
    }
  }
}
