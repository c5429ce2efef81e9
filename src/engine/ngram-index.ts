/**
 * Where a run of three tokens stood last in one sequence: an open table of positions, one entry a hash, the newest wins.
 * A position that is found is compared before it is used, so a lost entry costs a guess and never a wrong one.
 * Owns the table of one sequence. Does not know drafts. Allocates nothing after construction.
 */

const NGRAM = 3

export class NgramIndex {
  readonly #ends: Int32Array // [power of two ≥ capacity] position behind the run; 0 = none
  readonly #mask: number
  #numIndexed = 0

  /** @param capacity - tokens of the sequence at most */
  constructor(capacity: number) {
    let size = 16
    while (size < capacity) size *= 2
    this.#ends = new Int32Array(size)
    this.#mask = size - 1
  }

  /**
   * Where the run that the known tokens end with stood before: the position behind it, or -1. Enters the runs of tokens
   * that are new since the last call. Cost: O(new tokens).
   */
  find(tokenIds: Int32Array, numTokens: number): number {
    // The last run itself is not entered before it is looked for.
    for (let end = Math.max(this.#numIndexed + 1, NGRAM); end < numTokens; end++)
      this.#ends[this.#slot(tokenIds, end)] = end
    this.#numIndexed = Math.max(this.#numIndexed, numTokens - 1)
    if (numTokens < NGRAM) return -1
    const end = this.#ends[this.#slot(tokenIds, numTokens)]!
    if (end === 0) return -1
    for (let back = 1; back <= NGRAM; back++) {
      if (tokenIds[end - back] !== tokenIds[numTokens - back]) return -1
    }
    return end
  }

  #slot(tokenIds: Int32Array, end: number): number {
    let hash = 0
    for (let back = 1; back <= NGRAM; back++)
      hash = Math.imul(hash ^ tokenIds[end - back]!, 0x9e3779b1)
    return (hash ^ (hash >>> 15)) & this.#mask
  }
}
