/** On the real model: the default policies change no token and no bit of a logprob. */

import { beforeAll, expect, it } from 'vitest'
import type { SequenceId } from '../../src/base/ids.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { modelPath } from '../support/model-path.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { ENGINE_OPTIONS } from '../support/supervised.ts'

const POLICIES = { prefixCache: true, targetItl: 'auto', maxDraftTokens: 16 } as const

let options: EngineOptions
beforeAll(async () => {
  const checkpointPath = await modelPath()
  const sizes = { kvMemoryBytes: 64 * 2 ** 20, maxContextTokens: 1024, maxNumBatchedTokens: 128 }
  options = { ...ENGINE_OPTIONS, checkpointPath, ...sizes, activations: 'int8', kvDtype: 'bf16' }
})

it('prefix hits, guesses, targets, shared choices and swaps leave every bit as it is', async () => {
  const { below } = seededRandom(77)
  const ids = (count: number) => Array.from({ length: count }, () => 100 + below(40_000))
  const stem = ids(150)
  const motif = ids(12)
  const specs = Array.from({ length: 12 }, (_, index) =>
    makeSpec(index + 1, {
      // A common beginning, then text that repeats itself.
      promptIds: [...stem, ...ids(4), ...motif, ...motif, ...motif.slice(0, 4 + (index % 4))],
      maxTokens: 24,
      temperature: index % 2 === 0 ? 0 : 0.7,
      seed: BigInt(index),
      topLogprobs: 3,
    }),
  )
  const choices = [1, 2].map((choice) => ({
    ...(specs[1] as (typeof specs)[number]),
    id: (100 + choice) as SequenceId,
    choice,
    leader: 2 as SequenceId,
  }))
  const all = [...specs.slice(0, 2), ...choices, ...specs.slice(2)]
  const arrivals = (step: number) => (step % 3 === 0 ? 2 : 0)
  const plain = await withEngine({ ...options, scheduling: PLAIN_SCHEDULING }, (engine) =>
    runSequences(engine, all),
  )
  const clever = await withEngine({ ...options, scheduling: POLICIES }, (engine) =>
    runSequences(engine, all, arrivals),
  )
  // Memory for two at a time, and some of a higher tier that put the others out.
  const kvMemoryBytes = 12 * 2 ** 20
  const scheduling = { ...POLICIES, prefixCache: false, swapBytes: 2 ** 26 }
  const tiered = all.map((spec, index) => ({
    ...spec,
    tier: index % 3 === 2 ? ('priority' as const) : ('flex' as const),
  }))
  const pressed = await withEngine({ ...options, kvMemoryBytes, scheduling }, async (engine) => ({
    ...(await runSequences(engine, tiered, arrivals)),
    ...engine.core.stats(),
  }))
  for (const { id } of all) {
    expect(clever.answers.get(id)).toStrictEqual(plain.answers.get(id))
    expect(pressed.answers.get(id)).toStrictEqual(plain.answers.get(id))
  }
  expect(pressed.numSwappedInBlocks).toBeGreaterThan(0)
  const { numCachedTokens, numDraftTokens, numAcceptedDrafts } = clever
  console.info(JSON.stringify({ numCachedTokens, numDraftTokens, numAcceptedDrafts }))
  expect(numCachedTokens).toBeGreaterThan(8 * 128)
  expect(numDraftTokens).toBeGreaterThan(0)
})
