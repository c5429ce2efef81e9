import { expect, it } from 'vitest'
import { didYouMean } from '../../../src/config/nearest.ts'

const KNOWN = ['maxSequences', 'kvMemory', 'region', 'coldStartWait']

it.each([
  ['max_sequences', 'maxSequences'],
  ['KVMEMORY', 'kvMemory'],
  ['maxSequence', 'maxSequences'],
  ['reigon', 'region'],
  ['regoin', 'region'],
  ['memory', 'kvMemory'],
  ['coldstartwiat', 'coldStartWait'],
])('%s was probably %s', (written, meant) => {
  expect(didYouMean(written, KNOWN)).toBe(` (did you mean "${meant}"?)`)
})

it.each(['', 'zebra', '___', 'x'.repeat(100_000)])('nothing is near %j', (written) => {
  expect(didYouMean(written, KNOWN)).toBe('')
})
