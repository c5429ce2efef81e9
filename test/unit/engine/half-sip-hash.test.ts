import { expect, it } from 'vitest'
import { HalfSipHash } from '../../../src/engine/half-sip-hash.ts'

// Key 00 01 … 07 and input 00 01 … of 0, 4 and 8 bytes: `vectors_hsip32` of the reference.
it.each([
  [[], 0x5b9f35a9],
  [[0x03020100], 0x89466e2a],
  [[0x03020100, 0x07060504], 0x8f84b8d0],
])('hashes %j as the reference does', (words, expected) => {
  const hash = new HalfSipHash(0x03020100, 0x07060504)
  hash.begin()
  for (const word of words) hash.word(word)
  expect(hash.end()).toBe(expected)
})
