/**
 * Adapters that PEFT saved against the logits that transformers with PEFT computes. The data are made by
 * test/support/make_peft_adapters.py; without INGOT_TEST_PEFT, which names their folder, nothing is compared.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { digestAdapter } from '../../src/checkpoint/adapter/adapter-digest.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'

const ROOT = process.env.INGOT_TEST_PEFT
const KINDS = ['llama', 'rslora', 'patterns', 'qwen2', 'qwen3', 'phi3']

interface Expected {
  readonly promptIds: readonly number[]
  readonly base: readonly number[]
  readonly adapter: readonly number[]
  readonly greedy: readonly number[]
}

describe.skipIf(ROOT === undefined)('PEFT (skipped without INGOT_TEST_PEFT)', () => {
  it.each(KINDS)('%s', async (kind) => {
    const folder = join(ROOT ?? '', kind)
    const expected = JSON.parse(readFileSync(join(folder, 'expected.json'), 'utf8')) as Expected
    const options = {
      checkpointPath: join(folder, 'base'),
      threads: 2,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: 1 << 20,
      blockSize: 16,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 4,
      maxContextTokens: 64,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    } as const
    const worst = await withEngine(options, async (engine) => {
      const { executor } = engine
      const adapter = join(folder, 'adapter')
      const digest = await digestAdapter(adapter)
      await executor.adapters!.load({ slot: 1, folder: adapter, digest, maxRank: 16 })
      const differences: number[] = []
      for (const [slot, logits] of [
        [0, expected.base],
        [1, expected.adapter],
      ] as const) {
        const parts = { promptIds: expected.promptIds, temperature: 0, cacheDomain: slot }
        const own = slot === 0 ? {} : { adapter: slot }
        await runSequences(engine, [makeSpec(1 + slot, { ...parts, ...own, maxTokens: 1 })])
        const got = executor.logits.slice(0, logits.length)
        differences.push(Math.max(...logits.map((value, at) => Math.abs(value - got[at]!))))
      }
      const spec = makeSpec(9, {
        ...{ promptIds: expected.promptIds, temperature: 0, maxTokens: expected.greedy.length },
        adapter: 1,
      })
      const { answers } = await runSequences(engine, [spec])
      expect(answers.get(spec.id)!.tokenIds).toEqual(expected.greedy)
      return differences
    })
    console.log(`${kind}: base ${worst[0]}, adapter ${worst[1]}`)
    expect(Math.max(...worst)).toBeLessThan(1e-4)
  })
})
