/**
 * An adapter computes what its base with merged weights computes, in every kind of checkpoint; and who else is in the
 * step, with which adapter, changes no bit. Adapters come and go while sequences run.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestAdapter } from '../../src/checkpoint/adapter/adapter-digest.ts'
import { PLAIN_SCHEDULING, type SchedulingOptions } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions, SequenceSpec } from '../../src/worker/messages.ts'
import { caught } from '../support/caught.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { type Answer, runSequences, withEngine } from '../support/run-engine.ts'
import { seededRandom } from '../support/seeded-random.ts'
import {
  adapterTensors,
  mergedWeights,
  type TinyAdapter,
  tinyAdapter,
  writeAdapter,
  writeConvertedGguf,
  writeWeightsFolder,
} from '../support/tiny-adapter.ts'
import { tinyLlamaWeights } from '../support/tiny-llama-folder.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)
const PROMPT = [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41]

describe.skipIf(!existsSync(ADDON))('adapters (skipped when the addon is not built)', () => {
  let root: string
  let base: string
  let gguf: string
  let numFolders = 0
  const fresh = () => join(root, `folder-${numFolders++}`)
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'ingot-adapters-'))
    base = await writeWeightsFolder(fresh(), tinyLlamaWeights())
    gguf = await writeConvertedGguf(join(root, 'tiny.gguf'), tinyLlamaWeights())
  })
  afterAll(() => rm(root, { recursive: true }))

  function options(
    checkpointPath: string,
    scheduling: Partial<SchedulingOptions> = {},
  ): EngineOptions {
    return {
      checkpointPath,
      threads: 2,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: 1 << 20,
      blockSize: 16,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 8,
      maxContextTokens: 128,
      eosTokenIds: [],
      scheduling: { ...PLAIN_SCHEDULING, ...scheduling },
    }
  }

  const spec = (id: number, adapter: number, promptIds = PROMPT): SequenceSpec => ({
    ...makeSpec(id, {
      promptIds,
      maxTokens: 10,
      temperature: 0,
      topLogprobs: 20,
      cacheDomain: adapter,
    }),
    ...(adapter === 0 ? {} : { adapter }),
  })

  interface Held {
    readonly slot: number
    readonly folder: string
  }
  const held = async (slot: number, adapter: TinyAdapter): Promise<Held> => ({
    slot,
    folder: await writeAdapter(fresh(), adapter),
  })
  const source = async ({ slot, folder }: Held) => ({
    slot,
    folder,
    digest: await digestAdapter(folder),
    maxRank: 16,
  })

  /** Answers of one prompt with each adapter, each alone. */
  async function answer(checkpoint: string, adapter: TinyAdapter | null): Promise<Answer> {
    return withEngine(options(checkpoint), async (engine) => {
      if (adapter !== null)
        await engine.executor.adapters!.load(await source(await held(1, adapter)))
      const { answers } = await runSequences(engine, [spec(1, adapter === null ? 0 : 1)])
      return [...answers.values()][0]!
    })
  }

  function expectSameAnswers(got: Answer, expected: Answer): void {
    expect(got.tokenIds).toEqual(expected.tokenIds)
    for (const [index, entry] of got.logprobs.entries()) {
      const other = expected.logprobs[index]!
      const byId = new Map(other.topIds.map((id, at) => [id, other.topLogprobs[at]!]))
      for (const [at, id] of entry.topIds.slice(0, 10).entries()) {
        expect(Math.abs(entry.topLogprobs[at]! - byId.get(id)!)).toBeLessThan(1e-4)
      }
    }
  }

  const kinds: readonly (readonly [string, TinyAdapter])[] = [
    ['all modules', tinyAdapter()],
    ['q and v alone', tinyAdapter({ modules: ['self_attn.q_proj', 'self_attn.v_proj'] })],
    ['rank-stabilised', tinyAdapter({ isRankStabilised: true, alpha: 2 })],
    [
      'ranks and alphas of single modules',
      tinyAdapter({
        ranks: { 'mlp.down_proj': 7, 'self_attn.k_proj': 1 },
        alphas: { 'self_attn.q_proj': 3, 'mlp.down_proj': 30 },
      }),
    ],
  ]

  it.each(kinds)('gives what merged weights give: %s', async (_name, adapter) => {
    const merged = await writeWeightsFolder(fresh(), mergedWeights(adapter))
    const expected = await answer(merged, null)
    expectSameAnswers(await answer(base, adapter), expected)
    expect(expected.logprobs).not.toEqual((await answer(base, null)).logprobs)
  })

  it('gives the same on the GGUF file that a converter makes of the base', async () => {
    const adapter = tinyAdapter()
    expectSameAnswers(await answer(gguf, null), await answer(base, null))
    const merged = await writeConvertedGguf(join(root, 'merged.gguf'), mergedWeights(adapter))
    expectSameAnswers(await answer(gguf, adapter), await answer(merged, null))
    expectSameAnswers(await answer(gguf, adapter), await answer(base, adapter))
  })

  it('changes no bit of anybody beside it, and none of the base', async () => {
    const all = [0, 1, 2, 0, 1, 2, 2, 0].map((adapter, index) => spec(index, adapter))
    const adapters = [
      await held(1, tinyAdapter()),
      await held(2, tinyAdapter({ seed: 9, rank: 3 })),
    ]
    const plain = await withEngine(options(base), async (engine) => {
      const { answers } = await runSequences(engine, [spec(0, 0)])
      return [...answers.values()][0]!
    })
    await withEngine(options(base, { prefixCache: true, maxDraftTokens: 4 }), async (engine) => {
      for (const each of adapters) await engine.executor.adapters!.load(await source(each))
      const alone: Answer[] = []
      for (const one of all) {
        const { answers } = await runSequences(engine, [one])
        alone.push(...answers.values())
      }
      const { answers } = await runSequences(engine, all)
      expect([...answers.values()]).toEqual(alone)
      expect(alone[0]).toEqual(plain)
      expect(alone[1]!.logprobs).not.toEqual(plain.logprobs)
      expect(alone[2]!.logprobs).not.toEqual(alone[1]!.logprobs)
    })
  })

  it('comes and goes at random while others run: every answer is the one it has alone', async () => {
    const random = seededRandom(77)
    const kindsOf = [
      tinyAdapter({ seed: 1 }),
      tinyAdapter({ seed: 2, rank: 2 }),
      tinyAdapter({ seed: 3 }),
    ]
    const folders = await Promise.all(kindsOf.map((adapter) => writeAdapter(fresh(), adapter)))
    await withEngine(options(base, { prefixCache: true }), async ({ core, executor }) => {
      const adapters = executor.adapters!
      /** Kind in each slot 1 … 4. */
      const slots: (number | null)[] = [null, null, null, null, null]
      const known = new Map<string, string>()
      const running = new Map<number, { slot: number; key: string; tokens: number[] }>()
      let numSequences = 0
      let numFinished = 0
      for (let turn = 0; turn < 600; turn++) {
        const slot = 1 + random.below(4)
        const isUsed = core.usesAdapter(slot)
        const action = random.below(4)
        if (action === 0 && slots[slot] === null) {
          const kind = random.below(3)
          const folder = folders[kind]!
          await adapters.load({ slot, folder, digest: await digestAdapter(folder), maxRank: 8 })
          slots[slot] = kind
        } else if (action === 1 && slots[slot] !== null && !isUsed) {
          adapters.unload(slot)
          slots[slot] = null
        } else if (running.size < 8) {
          const kind = slots[slot] ?? null
          const length = 1 + random.below(20)
          const start = random.below(3)
          const promptIds = Array.from({ length }, (_, at) => 3 + ((start + 7 * at) % 90))
          const id = numSequences++
          const own = { ...spec(id, kind === null ? 0 : slot, promptIds) }
          // Of the adapter, not of the slot: another one will lie there later.
          core.add({ ...own, cacheDomain: Int32Array.of(0, 0, 1, kind ?? -1) })
          const key = `${kind}: ${promptIds.join()}`
          running.set(id, { slot: kind === null ? 0 : slot, key, tokens: [] })
        }
        for (const update of (await core.step()).updates) {
          const own = running.get(update.id as number)!
          expect(update.error).toBeNull()
          own.tokens.push(...update.tokenIds)
          if (update.finish === null) continue
          running.delete(update.id as number)
          numFinished += 1
          const answer = own.tokens.join()
          expect(answer).toBe(known.get(own.key) ?? answer)
          known.set(own.key, answer)
        }
        core.checkIntegrity()
      }
      expect(numFinished).toBeGreaterThan(100)
      while (core.hasWork) await core.step()
      // Alone, in an engine that never saw another: a sample of what was seen above.
      for (const [key, answer] of [...known].slice(0, 40)) {
        const [kind, prompt] = key.split(': ') as [string, string]
        if (kind === 'null') continue
        adapters.unload(1)
        const folder = folders[Number(kind)]!
        await adapters.load({ slot: 1, folder, digest: await digestAdapter(folder), maxRank: 8 })
        const own = { ...spec(numSequences++, 1, prompt.split(',').map(Number)) }
        const { answers } = await runSequences({ core }, [
          { ...own, cacheDomain: Int32Array.of(9, 9, 9, numSequences) },
        ])
        expect([...answers.values()][0]!.tokenIds.join()).toBe(answer)
      }
    })
  })

  it('refuses sequences of a slot that holds none, and they alone', async () => {
    await withEngine(options(base), async ({ core, executor }) => {
      await executor.adapters!.load(await source(await held(1, tinyAdapter())))
      expect(() => core.add(spec(1, 2))).toThrow(
        expect.objectContaining({ code: 'ENGINE_ADAPTER_NOT_LOADED', details: { slot: 2 } }),
      )
      executor.adapters!.unload(1)
      expect(() => core.add(spec(2, 1))).toThrow(/slot 1/)
      const { answers } = await runSequences({ core }, [spec(3, 0)])
      expect([...answers.values()][0]!.finish).toBe('length')
    })
  })

  it('refuses adapters of other models by name, and the engine goes on', async () => {
    const adapter = tinyAdapter()
    const q = 'base_model.model.model.layers.0.self_attn.q_proj'
    const zeros = (shape: readonly number[]) => ({ shape })
    const pair = (module: string, outputs: number, inputs: number, rank = 4) => ({
      [`base_model.model.${module}.lora_A.weight`]: zeros([rank, inputs]),
      [`base_model.model.${module}.lora_B.weight`]: zeros([outputs, rank]),
    })
    const wrong = { code: 'EXECUTION_ADAPTER_MODULE' }
    const nan = { ...adapterTensors(adapter)[`${q}.lora_A.weight`]! }
    const bytes = Buffer.from(nan.data!)
    bytes.writeFloatLE(Number.NaN, 8)
    const cases: readonly [object, object, Record<string, object>][] = [
      [wrong, { module: 'lm_head' }, pair('lm_head', 96, 48)],
      [wrong, { module: 'model.layers.2.mlp.up_proj' }, pair('model.layers.2.mlp.up_proj', 80, 48)],
      [
        wrong,
        { module: 'model.layers.0.input_layernorm' },
        pair('model.layers.0.input_layernorm', 1, 48),
      ],
      [
        { code: 'EXECUTION_ADAPTER_SHAPE' },
        { expected: '48 inputs and 64 outputs', got: '32 and 64' },
        pair('model.layers.0.self_attn.q_proj', 64, 32),
      ],
      [
        { code: 'EXECUTION_ADAPTER_VALUES' },
        { module: 'model.layers.0.self_attn.q_proj' },
        { [`${q}.lora_A.weight`]: { ...nan, data: bytes } },
      ],
    ]
    await withEngine(options(base), async (engine) => {
      const slots = engine.executor.adapters!
      const before = await runSequences(engine, [spec(1, 0)])
      for (const [code, details, tensors] of cases) {
        const folder = await writeAdapter(fresh(), adapter, {}, tensors as never)
        const error = await caught(slots.load(await source({ slot: 1, folder })))
        expect(error).toMatchObject({ ...code, details })
        expect(slots.has(1)).toBe(false)
      }
      const large = await held(1, adapter)
      const rank = await caught(slots.load({ ...(await source(large)), maxRank: 3 }))
      expect(rank).toMatchObject({ code: 'EXECUTION_ADAPTER_RANK', param: '--max-lora-rank' })
      const other = { ...(await source(large)), digest: `sha256:${'0'.repeat(64)}` }
      expect(await caught(slots.load(other))).toMatchObject({ code: 'EXECUTION_ADAPTER_CHANGED' })
      await writeFile(join(large.folder, 'adapter_model.safetensors'), 'no tensors')
      const broken = await caught(slots.load(await source(large)))
      expect(broken.code).toMatch(/^CHECKPOINT_/)
      const after = await runSequences(engine, [spec(2, 0)])
      expect([...after.answers.values()]).toEqual([...before.answers.values()])
      expect(() => engine.core.add(spec(3, 1))).toThrow(/slot 1/)
    })
  })
})
