/**
 * `ingot quantize` on a tiny folder: what it writes is read back by Ingot as the values that rounding gives, in every
 * width and symmetry, and nothing is left of a command that fails.
 */

import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { quantizeModel } from '../../src/cli/quantize-model.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { encodeSafetensors, f32, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_CONFIG, tinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)

describe.skipIf(!existsSync(ADDON))('quantize (skipped when the addon is not built)', () => {
  let root: string
  let source: string
  beforeAll(async () => {
    vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    root = await mkdtemp(join(tmpdir(), 'ingot-quantize-'))
    source = join(root, 'source')
    await writeSource(source, 96)
  })
  afterAll(async () => {
    vi.restoreAllMocks()
    await rm(root, { recursive: true })
  })

  /** Of 64 columns, where the tiny llama has 48. @param inner - inputs of each `down_proj` */
  async function writeSource(folder: string, inner: number): Promise<void> {
    const wider = (extent: number) => (extent === 48 ? 64 : extent === 80 ? inner : extent)
    const random = seededRandom(15)
    const tensors = [...tinyLlamaFolder().tensors].map(([name, tensor]) => {
      const shape = tensor.shape.map(wider)
      const length = shape.reduce((product, extent) => product * extent, 1)
      const value = () => (shape.length === 1 ? 1 : (random.below(2001) - 1000) / 7000)
      return [name, { shape, data: f32(Array.from({ length }, value)) }] as const
    })
    await writeModelFolder(folder, {
      'config.json': { ...TINY_CONFIG, hidden_size: 64, intermediate_size: inner },
      'model.safetensors': encodeSafetensors(Object.fromEntries(tensors)),
      LICENSE: 'as you like',
      'quantize_config.json': { bits: 3 },
    })
  }

  const quantize = (output: string, change: Readonly<Record<string, unknown>> = {}) =>
    quantizeModel(String(change.source ?? source), {
      home: join(root, 'home'),
      output: join(root, output),
      weights: 'int4',
      group: 'auto',
      symmetry: 'symmetric',
      method: 'rtn',
      ...change,
    })

  async function logprobs(folder: string): Promise<number[]> {
    const options = {
      checkpointPath: folder,
      threads: 2,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: 1 << 20,
      blockSize: 16,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 1,
      maxContextTokens: 64,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    } as const
    return withEngine(options, async (engine) => {
      const spec = makeSpec(1, { promptIds: [1, 5, 9, 13, 17], maxTokens: 1, promptLogprobs: 0 })
      const { answers } = await runSequences(engine, [spec])
      return answers.get(spec.id)!.promptLogprobs.map(({ logprob }) => logprob)
    })
  }

  it.each([
    ['int8', 'symmetric', 0.01],
    ['int8', 'asymmetric', 0.01],
    ['int4', 'symmetric', 0.2],
    ['int4', 'asymmetric', 0.2],
  ] as const)(
    '%s, %s: the folder answers nearly as its source',
    async (weights, symmetry, most) => {
      const name = `${weights}-${symmetry}`
      await quantize(name, { weights, symmetry })
      const [before, after] = [await logprobs(source), await logprobs(join(root, name))]
      const worst = Math.max(...before.map((value, at) => Math.abs(value - (after[at] ?? 0))))
      expect(worst).toBeGreaterThan(0)
      expect(worst).toBeLessThan(most)
    },
  )

  it('leaves matrices dense that have no whole groups, and answers nearly as its source', async () => {
    const odd = join(root, 'odd')
    await writeSource(odd, 80)
    await quantize('odd-int8', { source: odd, weights: 'int8' })
    const config = JSON.parse(await readFile(join(root, 'odd-int8', 'config.json'), 'utf8'))
    expect(config.quantization_config.ignore).toEqual([
      'lm_head',
      'model.layers.0.mlp.down_proj',
      'model.layers.1.mlp.down_proj',
    ])
    expect(process.stdout.write).toHaveBeenLastCalledWith(
      expect.stringContaining(
        '2 left dense, 80 inputs are no whole groups of 64: model.layers.0.mlp.down_proj.weight and 1 more',
      ),
    )
    const [before, after] = [await logprobs(odd), await logprobs(join(root, 'odd-int8'))]
    const worst = Math.max(...before.map((value, at) => Math.abs(value - (after[at] ?? 0))))
    expect(worst).toBeGreaterThan(0)
    expect(worst).toBeLessThan(0.01)
  })

  it('copies the licence, and says how the folder was made', async () => {
    await quantize('told', { group: '32' })
    expect((await readdir(join(root, 'told'))).sort()).toEqual([
      'LICENSE',
      'config.json',
      'ingot-quantization.json',
      'model.safetensors',
    ])
    const recipe: unknown = JSON.parse(
      await readFile(join(root, 'told', 'ingot-quantization.json'), 'utf8'),
    )
    expect(recipe).toMatchObject({
      kind: 'ingot-quantization',
      bits: 4,
      group: 32,
      isSymmetric: true,
      method: { name: 'round to nearest' },
      calibration: null,
      quantizedMatrices: 14,
      source: { digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
    })
  })

  it('refuses what it cannot do, and leaves nothing behind', async () => {
    await writeFile(join(root, 'taken'), '')
    const before = await readdir(root)
    await expect(quantize('taken')).rejects.toMatchObject({ code: 'CLI_BAD_ARGUMENT' })
    await expect(quantize('a', { weights: 'bf16' })).rejects.toThrow('--weights to be one of')
    await expect(quantize('no/such')).rejects.toThrow(join(root, 'no'))
    await expect(quantize('b', { calibrate: 'x.txt' })).rejects.toThrow('--calibrate')
    // GPTQ needs a text, and this folder has no tokenizer to read one with.
    await expect(quantize('c', { method: 'gptq' })).rejects.toMatchObject({
      code: 'CLI_CANNOT_QUANTIZE',
    })
    expect(await readdir(root)).toEqual(before)
  })

  it('leaves nothing behind when it is interrupted', async () => {
    const before = await readdir(root)
    const running = quantize('interrupted')
    running.catch(() => {})
    // As soon as it has begun to write.
    while (!(await readdir(root)).some((name) => name.endsWith('.part'))) await setImmediate()
    process.emit('SIGINT', 'SIGINT')
    await expect(running).rejects.toThrow('SIGINT')
    expect(await readdir(root)).toEqual(before)
  })
})
