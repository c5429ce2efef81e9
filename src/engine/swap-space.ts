/**
 * Host memory for the KV of sequences that were put out: slots of one block each. Memory comes when a slot is first used
 * and stays; the slot freed last is used next, so what is touched stays near what is needed.
 *
 * Owns the slots. Does not know sequences or what is in a slot. Invariant:
 * P1 A slot is free, or held by one sequence; there are never more than fit in the bytes that were allowed.
 */

import { invariant } from '../base/errors.ts'

/** Blocks that are allocated together. */
const SLAB_BLOCKS = 16

export class SwapSpace {
  readonly numSlots: number
  readonly #blockBytes: number
  /** One a slot, in order; as many as were ever used. */
  readonly #slots: Uint8Array[] = []
  readonly #free: Uint8Array[] = []

  constructor(limitBytes: number, blockBytes: number) {
    this.#blockBytes = blockBytes
    this.numSlots = Math.floor(limitBytes / blockBytes)
  }

  get numFree(): number {
    return this.#free.length + this.numSlots - this.#slots.length
  }

  /** @returns slots, or null when fewer are free */
  take(numSlots: number): Uint8Array[] | null {
    if (numSlots > this.numFree) return null
    while (this.#free.length < numSlots) this.#grow()
    return this.#free.splice(this.#free.length - numSlots)
  }

  release(slots: readonly Uint8Array[]): void {
    invariant(
      this.#free.length + slots.length <= this.#slots.length,
      'P1',
      'a slot of the swap space is released twice',
    )
    for (const slot of slots) this.#free.push(slot)
  }

  #grow(): void {
    const numNew = Math.min(SLAB_BLOCKS, this.numSlots - this.#slots.length)
    // Zeroed by the system when it is touched.
    const slab = new ArrayBuffer(numNew * this.#blockBytes)
    for (let index = 0; index < numNew; index++) {
      const slot = new Uint8Array(slab, index * this.#blockBytes, this.#blockBytes)
      this.#slots.push(slot)
      this.#free.push(slot)
    }
  }

  /** @param numHeld - slots that waiting sequences hold */
  checkIntegrity(numHeld: number): void {
    const isWhole = new Set(this.#free).size === this.#free.length
    invariant(isWhole, 'P1', 'a slot of the swap space is free twice')
    const isCounted = numHeld + this.numFree === this.numSlots
    invariant(isCounted, 'P1', 'a slot of the swap space is lost or held twice')
  }
}
