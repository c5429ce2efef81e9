import { expect, it } from 'vitest'
import { IncrementalDetokenizer } from '../../src/text/incremental-detokenizer.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'
import { fixedTokenizer } from '../support/text-fixtures.ts'

const NUM_ROUNDS = 10_000

/** Bytes at which the rules of UTF-8 change, so that random ones meet them often. */
const EDGES = [
  0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec,
  0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
]
const CHARACTERS = ['a', 'é', '你', '👋', '\ufeff', '\u0301', '\u07ff', '\ud7ff', '\u{10ffff}']

function randomBytes(random: SeededRandom): Buffer {
  const parts = Array.from({ length: random.below(8) }, () =>
    random.below(2) === 0
      ? Buffer.from(CHARACTERS[random.below(CHARACTERS.length)] as string)
      : Buffer.from([EDGES[random.below(EDGES.length)] as number]),
  )
  return Buffer.concat(parts)
}

function cut(bytes: Buffer, random: SeededRandom): Buffer[] {
  const parts: Buffer[] = []
  let at = 0
  while (at < bytes.length) {
    const end = Math.min(bytes.length, at + 1 + random.below(4))
    parts.push(bytes.subarray(at, end))
    at = end
  }
  return parts
}

it('joins to the decoding of all bytes at once, for any bytes and any cut', () => {
  for (let seed = 0; seed < NUM_ROUNDS; seed += 1) {
    const random = seededRandom(seed)
    const bytes = randomBytes(random)
    const tokens = cut(bytes, random)
    const detokenizer = new IncrementalDetokenizer(fixedTokenizer(tokens))
    const pieces = tokens.map((_, id) => detokenizer.push(id))
    const text = pieces.join('') + detokenizer.flush()
    const whole = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
    expect({ seed, text }).toEqual({ seed, text: whole })
    for (const piece of pieces) expect(/\p{Surrogate}/u.test(piece)).toBe(false)
  }
})

it('holds back at most a part of one character', () => {
  for (let seed = 0; seed < 2_000; seed += 1) {
    const random = seededRandom(seed)
    const text = Array.from({ length: 10 }, () => CHARACTERS[random.below(CHARACTERS.length)])
    const tokens = cut(Buffer.from(text.join('')), random)
    const detokenizer = new IncrementalDetokenizer(fixedTokenizer(tokens))
    let numBytes = 0
    let numEmitted = 0
    for (const [id, bytes] of tokens.entries()) {
      numBytes += bytes.length
      numEmitted += Buffer.byteLength(detokenizer.push(id))
      expect(numBytes - numEmitted).toBeLessThanOrEqual(3)
    }
    expect(detokenizer.flush()).toBe('')
  }
})
