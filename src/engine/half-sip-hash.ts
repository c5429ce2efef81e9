/**
 * HalfSipHash-2-4 over 32-bit words: a keyed hash for bucket numbers that a caller can choose inputs for. Whoever does
 * not know the key cannot make inputs that fall into one bucket. It is not what keeps tenants apart: the prefix cache
 * compares what it finds. Words are taken as little-endian bytes, so the reference's vectors hold for whole words.
 *
 * Owns four words of state; one hash at a time. Allocates nothing.
 * Source: J.-P. Aumasson, D. J. Bernstein, `halfsiphash.c` of github.com/veorq/SipHash.
 */

export class HalfSipHash {
  readonly #key0: number
  readonly #key1: number
  #v0 = 0
  #v1 = 0
  #v2 = 0
  #v3 = 0
  #numWords = 0

  constructor(key0: number, key1: number) {
    this.#key0 = key0 | 0
    this.#key1 = key1 | 0
  }

  begin(): void {
    this.#v0 = this.#key0
    this.#v1 = this.#key1
    this.#v2 = this.#key0 ^ 0x6c796765
    this.#v3 = this.#key1 ^ 0x74656462
    this.#numWords = 0
  }

  word(value: number): void {
    const word = value | 0
    this.#v3 ^= word
    this.#round()
    this.#round()
    this.#v0 ^= word
    this.#numWords += 1
  }

  /** Unsigned 32 bits. */
  end(): number {
    // The last word of the reference: the number of bytes, modulo 256, above the bytes that fill no word.
    this.word(this.#numWords << 26)
    this.#v2 ^= 0xff
    for (let round = 0; round < 4; round++) this.#round()
    return (this.#v1 ^ this.#v3) >>> 0
  }

  #round(): void {
    let v0 = this.#v0
    let v1 = this.#v1
    let v2 = this.#v2
    let v3 = this.#v3
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    this.#v0 = v0
    this.#v1 = v1
    this.#v2 = v2
    this.#v3 = v3
  }
}
