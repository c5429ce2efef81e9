/** Adapters as PEFT saves them: what is read of them, and what is refused by its name. */

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { digestAdapter } from '../../../src/checkpoint/adapter/adapter-digest.ts'
import { readAdapter } from '../../../src/checkpoint/adapter/adapter-reader.ts'
import { caught } from '../../support/caught.ts'
import { encodeSafetensors, type TensorSpec } from '../../support/safetensors-writer.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import { adapterTensors, tinyAdapter, writeAdapter } from '../../support/tiny-adapter.ts'

let root: string
let numFolders = 0
const fresh = () => join(root, `${numFolders++}`)
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-adapter-'))
})
afterAll(() => rm(root, { recursive: true }))

const MODULES = ['self_attn.q_proj', 'mlp.up_proj']
const adapter = tinyAdapter({ modules: MODULES })
const Q = 'base_model.model.model.layers.0.self_attn.q_proj'

it('reads each module with its matrices, its rank and its scale', async () => {
  const parts = { modules: MODULES, ranks: { 'mlp.up_proj': 2 }, alphas: { q_proj: 20 } }
  const folder = await writeAdapter(fresh(), tinyAdapter({ ...parts, rank: 4, alpha: 6 }))
  const { modules } = await readAdapter(folder)
  expect(modules.map(({ name, rank, scale }) => [name, rank, scale])).toEqual([
    ['model.layers.0.self_attn.q_proj', 4, 5],
    ['model.layers.0.mlp.up_proj', 2, 3],
    ['model.layers.1.self_attn.q_proj', 4, 5],
    ['model.layers.1.mlp.up_proj', 2, 3],
  ])
  const [{ down, up }] = modules as [(typeof modules)[0]]
  expect([down.shape, up.shape, up.offset - down.offset]).toEqual([[4, 48], [64, 4], 768])
})

it('takes the key of a pattern as PEFT does: a whole name, or its end behind a dot', async () => {
  const alphas = { '^model.layers.0.mlp.up_proj': 40, proj: 4, 'layers.1.mlp.up_proj$': 400 }
  const folder = await writeAdapter(
    fresh(),
    { ...adapter, config: { ...adapter.config, r: 4 } },
    {
      lora_alpha: 4,
      alpha_pattern: alphas,
    },
  )
  const { modules } = await readAdapter(folder)
  expect(modules.map(({ scale }) => scale)).toEqual([1, 10, 1, 100])
})

it('is refused where a file of it is a pipe, which nobody may ever write to', async () => {
  for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
    const folder = await writeAdapter(fresh(), adapter)
    await rm(join(folder, name))
    execFileSync('mkfifo', [join(folder, name)])
    const errors = [await caught(digestAdapter(folder)), await caught(readAdapter(folder))]
    expect(errors.map(({ code }) => code)).toEqual(Array(2).fill('CHECKPOINT_UNSUPPORTED_KIND'))
  }
})

it('has a digest that sha256sum makes too, and that the configuration changes', async () => {
  const folder = await writeAdapter(fresh(), adapter)
  const sums = 'sha256sum adapter_config.json adapter_model.safetensors | sha256sum'
  const printed = execFileSync('sh', ['-c', sums], { cwd: folder, encoding: 'utf8' })
  expect(await digestAdapter(folder)).toBe(`sha256:${printed.slice(0, 64)}`)
  const other = await writeAdapter(fresh(), adapter, { lora_alpha: 13 })
  expect(await digestAdapter(other)).not.toBe(await digestAdapter(folder))
})

describe('refuses by its key what it does not compute', () => {
  it.each([
    ['use_dora', true],
    ['bias', 'all'],
    ['bias', 'lora_only'],
    ['modules_to_save', ['lm_head']],
    ['peft_type', 'IA3'],
    ['peft_type', undefined],
    ['task_type', 'SEQ_CLS'],
    ['lora_bias', true],
    ['layer_replication', [[0, 1]]],
    ['trainable_token_indices', [1, 2]],
    ['target_parameters', ['mlp.experts.gate_up_proj']],
    ['init_lora_weights', 'pissa'],
    ['init_lora_weights', 'olora'],
    ['alora_invocation_tokens', [1]],
    ['megatron_config', { a: 1 }],
    ['use_qalora', true],
    ['something_new', 3],
  ])('%s = %j', async (key, value) => {
    const error = await caught(readAdapter(await writeAdapter(fresh(), adapter, { [key]: value })))
    expect(error).toMatchObject({ code: 'CHECKPOINT_ADAPTER_UNSUPPORTED', details: { key } })
  })

  it.each(['q_proj|v_proj', '.*', '(a+)+$'])('the pattern %s', async (pattern) => {
    const change = { rank_pattern: { [pattern]: 2 } }
    const error = await caught(readAdapter(await writeAdapter(fresh(), adapter, change)))
    expect(error.code).toBe('CHECKPOINT_ADAPTER_UNSUPPORTED')
    expect(error.message).toContain('rank_pattern')
  })

  it.each([
    [`${Q}.lora_magnitude_vector`, [64]],
    ['base_model.model.lm_head.weight', [96, 48]],
    [`${Q}.bias`, [64]],
    ['base_model.model.model.embed_tokens.lora_embedding_A', [4, 96]],
    [`${Q}.lora_B.bias`, [64]],
  ])('the tensor %s', async (name, shape) => {
    const folder = await writeAdapter(fresh(), adapter, {}, { [name]: { shape } })
    const error = await caught(readAdapter(folder))
    expect(error.code).toBe('CHECKPOINT_ADAPTER_UNSUPPORTED')
    expect(error.message).toContain(name)
  })
})

describe('says what is wrong with a configuration', () => {
  it.each([
    ['r', 0],
    ['r', 1.5],
    ['r', '8'],
    ['r', undefined],
    ['r', 1e9],
    ['lora_alpha', 0],
    ['lora_alpha', null],
    ['lora_alpha', -4],
    ['use_rslora', 'yes'],
    ['rank_pattern', [1]],
  ])('%s = %j', async (key, value) => {
    const error = await caught(readAdapter(await writeAdapter(fresh(), adapter, { [key]: value })))
    expect(error).toMatchObject({ code: 'CHECKPOINT_ADAPTER_CONFIG', details: { key } })
  })

  it('null, false and empty members that it does not know change nothing', async () => {
    const unknown = { a: null, b: false, c: [], d: {}, megatron_core: 'megatron.core' }
    const folder = await writeAdapter(fresh(), adapter, unknown)
    expect((await readAdapter(folder)).modules).toHaveLength(4)
  })
})

describe('says what is wrong with a tensor', () => {
  const cases: readonly [string, Readonly<Record<string, TensorSpec>>, RegExp][] = [
    ['another rank', { [`${Q}.lora_A.weight`]: { shape: [5, 48] } }, /rank 4.*got rank 5/],
    ['other ranks on both sides', { [`${Q}.lora_B.weight`]: { shape: [64, 3] } }, /got rank 3/],
    ['a vector', { [`${Q}.lora_A.weight`]: { shape: [4] } }, /got F32 of shape \[4\]/],
    ['an empty one', { [`${Q}.lora_A.weight`]: { shape: [4, 0] } }, /shape \[4, 0\]/],
    ['integers', { [`${Q}.lora_A.weight`]: { dtype: 'I32', shape: [4, 48] } }, /got I32/],
    ['one twice', { [`${Q}.lora_A.default.weight`]: { shape: [4, 48] } }, /there once/],
    ['half of a pair', { 'base_model.model.a.lora_A.weight': { shape: [4, 4] } }, /a\.lora_B/],
  ]
  it.each(cases)('%s', async (_name, tensors, message) => {
    const error = await caught(readAdapter(await writeAdapter(fresh(), adapter, {}, tensors)))
    expect(error).toMatchObject({ code: 'CHECKPOINT_ADAPTER_TENSOR' })
    expect(error.message).toMatch(message)
  })

  it('none at all', async () => {
    const folder = await writeAdapter(fresh(), adapter)
    await writeFile(join(folder, 'adapter_model.safetensors'), encodeSafetensors({}))
    expect((await caught(readAdapter(folder))).code).toBe('CHECKPOINT_ADAPTER_TENSOR')
  })
})

it('refuses a pickle without opening it, and a folder that is none', async () => {
  const folder = await writeAdapter(fresh(), adapter)
  await rm(join(folder, 'adapter_model.safetensors'))
  await writeFile(join(folder, 'adapter_model.bin'), 'cos\nsystem\n')
  expect(await caught(readAdapter(folder))).toMatchObject({ code: 'CHECKPOINT_UNSUPPORTED_KIND' })
  expect(await caught(readAdapter(join(root, 'nowhere')))).toMatchObject({
    code: 'CHECKPOINT_NOT_FOUND',
  })
})

it('survives any damage to its files: a ServingError, or an adapter', async () => {
  const random = seededRandom(3)
  const config = Buffer.from(JSON.stringify(adapter.config))
  const weights = encodeSafetensors(adapterTensors(adapter))
  const damaged = (bytes: Buffer) => {
    const copy = Buffer.from(bytes)
    const kind = random.below(3)
    if (kind === 0) return copy.subarray(0, random.below(copy.length))
    const reach = kind === 1 ? copy.length : Math.min(copy.length, 1200)
    for (let change = 0; change < 3; change++) copy[random.below(reach)] = random.below(256)
    return copy
  }
  const folder = await writeAdapter(fresh(), adapter)
  let numRead = 0
  for (let turn = 0; turn < 400; turn++) {
    const isConfig = turn % 2 === 0
    await writeFile(join(folder, 'adapter_config.json'), isConfig ? damaged(config) : config)
    await writeFile(
      join(folder, 'adapter_model.safetensors'),
      isConfig ? weights : damaged(weights),
    )
    const outcome = await readAdapter(folder).then(
      () => null,
      (error: unknown) => error,
    )
    if (outcome === null) numRead += 1
    else expect(outcome).toMatchObject({ name: 'ServingError' })
  }
  expect(numRead).toBeGreaterThan(0)
  expect(numRead).toBeLessThan(400)
})
