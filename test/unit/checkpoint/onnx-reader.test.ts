/** Exported ONNX folders: what the reader finds in each layout, which graph it chooses, and everything it refuses. */

import { mkdir, mkdtemp, rm, truncate, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import type { ExportedDecoder } from '../../../src/checkpoint/onnx/exported-decoder.ts'
import { openCheckpoint, openTensorCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import { mutate } from '../../support/gguf-mutations.ts'
import { seededRandom } from '../../support/seeded-random.ts'
import {
  DATA_FILE,
  exportTinyLlama,
  GENAI_CONFIG,
  writeGenaiFolder,
  writeOptimumFolder,
} from '../../support/tiny-exported.ts'
import { TINY_CONFIG, writeTinyLlamaFolder } from '../../support/tiny-llama-folder.ts'
import { encodeOnnx, type TinyModel, type TinyValue } from '../../support/tiny-onnx.ts'

let root: string
let numFolders = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-onnx-'))
})
afterAll(() => rm(root, { recursive: true }))

function fresh(): string {
  return join(root, `${numFolders++}`)
}

async function decoderOf(path: string): Promise<ExportedDecoder> {
  const checkpoint = await openCheckpoint(path)
  if (checkpoint.kind !== 'onnx') throw new Error(`a ${checkpoint.kind} checkpoint`)
  return checkpoint.exported
}

const WEIGHT_BYTES = 4 * (2 * 96 * 48 + 48 + 2 * (2 * 48 + 2 * 64 * 48 + 2 * 32 * 48 + 3 * 80 * 48))

describe('a folder of Optimum', () => {
  it('tells its graph, its inputs and outputs, and its sizes', async () => {
    const folder = await writeOptimumFolder(fresh())
    const checkpoint = await openCheckpoint(folder)
    const graphFile = join(folder, 'onnx/model.onnx')
    expect(checkpoint.kind).toBe('onnx')
    expect(checkpoint.files).toEqual([join(folder, 'config.json'), graphFile])
    expect(checkpoint.tensors.size).toBe(0)
    expect(checkpoint.totalTensorBytes).toBeGreaterThan(WEIGHT_BYTES)
    const { weights, ...decoder } = await decoderOf(folder)
    const names = (pattern: string) =>
      [0, 1].map((layer) => ({
        key: `${pattern}.${layer}.key`,
        value: `${pattern}.${layer}.value`,
      }))
    const index = (name: string) => ({ name, type: 'I64', rank: 2 })
    expect(decoder).toEqual({
      layout: 'optimum',
      modelType: 'llama',
      graphFile,
      reason: 'the only decoder of the folder',
      otherGraphs: [],
      producer: 'unknown',
      opset: 18,
      inputs: {
        tokenIds: index('input_ids'),
        attentionMask: index('attention_mask'),
        positionIds: index('position_ids'),
        numLogits: null,
        useCacheBranch: null,
        past: names('past_key_values'),
      },
      outputs: { logits: 'logits', present: names('present') },
      activations: 'f32',
      kvType: 'F32',
      logitsType: 'F32',
      hasLastLogitsOnly: false,
      fixedTokens: null,
      sharesKvBuffer: false,
      sizes: {
        vocabSize: 96,
        maxContextTokens: 512,
        numKvHeads: 2,
        headDim: 16,
        hiddenSize: 48,
        numHeads: 4,
        intermediateSize: 80,
      },
      eosTokenIds: [2],
    })
    expect(weights[0]).toMatchObject({ type: 'F32' })
    expect(weights[0]?.bytes).toBeGreaterThanOrEqual(WEIGHT_BYTES)
  })

  it('tells halves, 32-bit indices, last logits and the branch of a merged decoder', async () => {
    const folder = await writeOptimumFolder(
      fresh(),
      { type: 'f16', indices: 'i32', logits: 'last', hasCacheBranch: true },
      'decoder_model_merged',
    )
    expect(await decoderOf(folder)).toMatchObject({
      graphFile: join(folder, 'onnx/decoder_model_merged.onnx'),
      inputs: { tokenIds: { type: 'I32' }, useCacheBranch: 'use_cache_branch' },
      activations: 'f16',
      kvType: 'F16',
      logitsType: 'F16',
      hasLastLogitsOnly: true,
    })
  })

  it('serves the most exact variant, or the one whose path is given', async () => {
    const folder = await writeOptimumFolder(fresh(), {}, 'model_q4')
    const { graph } = exportTinyLlama()
    for (const name of ['model_fp16', 'model_quantized', 'encoder_model', 'model_q4f16']) {
      await writeFile(join(folder, 'onnx', `${name}.onnx`), graph)
    }
    expect(await decoderOf(folder)).toMatchObject({
      graphFile: join(folder, 'onnx/model_fp16.onnx'),
      reason: 'the most exact of 4 variants; give the path of another .onnx file to serve that',
      otherGraphs: ['model_q4', 'model_q4f16', 'model_quantized'].map((name) =>
        join(folder, `onnx/${name}.onnx`),
      ),
    })
    const named = join(folder, 'onnx/model_q4.onnx')
    expect(await decoderOf(named)).toMatchObject({
      graphFile: named,
      reason: 'the one that was named',
    })
    await writeFile(join(folder, 'onnx/model.onnx'), graph)
    expect((await decoderOf(folder)).graphFile).toBe(join(folder, 'onnx/model.onnx'))
  })

  it('is a safetensors folder where it has such weights too', async () => {
    const folder = await writeOptimumFolder(fresh())
    await writeTinyLlamaFolder(folder)
    expect((await openCheckpoint(folder)).kind).toBe('safetensors')
    expect((await openCheckpoint(join(folder, 'onnx/model.onnx'))).kind).toBe('onnx')
    const error = await caught(openTensorCheckpoint(join(folder, 'onnx/model.onnx')))
    expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_KIND')
  })
})

describe('a folder of onnxruntime-genai', () => {
  it('takes names and sizes from genai_config.json, and shares one buffer', async () => {
    const folder = await writeGenaiFolder(fresh(), { logits: 'asked' })
    const checkpoint = await openCheckpoint(folder)
    expect(checkpoint.files).toEqual(
      ['genai_config.json', 'model.onnx', DATA_FILE].map((name) => join(folder, name)),
    )
    expect(await decoderOf(folder)).toMatchObject({
      layout: 'genai',
      modelType: 'llama',
      reason: 'named by genai_config.json',
      inputs: { positionIds: null, numLogits: { name: 'num_logits_to_keep', rank: 0 } },
      sharesKvBuffer: true,
      sizes: { maxContextTokens: 512, headDim: 16, intermediateSize: null },
      eosTokenIds: [2],
    })
  })

  const { model } = GENAI_CONFIG
  const change = (decoder: object) => ({
    model: { ...model, decoder: { ...model.decoder, ...decoder } },
  })
  it.each([
    ['a pipeline', change({ pipeline: [{}] }), 'model.decoder.pipeline'],
    ['a sliding cache', change({ sliding_window: { window_size: 4 } }), 'sliding_window'],
    ['a path as file name', change({ filename: '../model.onnx' }), 'model.decoder.filename'],
    ['an input that is not fed', change({ inputs: { rnn: 'x' } }), 'model.decoder.inputs'],
    [
      'a pattern without a layer',
      change({ inputs: { past_key_names: 'past' } }),
      'model.decoder.inputs.past_key_names',
    ],
    ['another number of layers', change({ num_hidden_layers: 3 }), 'the layers'],
    ['another width of heads', change({ head_size: 8 }), 'head_size'],
    ['no context', { model: { ...model, context_length: undefined } }, 'context_length'],
    ['a context that is no count', { model: { ...model, context_length: -1 } }, 'context_length'],
    ['an end token outside', { model: { ...model, eos_token_id: [96] } }, 'eos_token_id'],
    ['no decoder', { model: { type: 'llama' } }, 'decoder'],
  ])('is refused with %s', async (_, config, field) => {
    const folder = await writeGenaiFolder(fresh())
    await writeFile(join(folder, 'genai_config.json'), JSON.stringify(config))
    const error = await caught(openCheckpoint(folder))
    expect(error.code).toMatch(/^CHECKPOINT_(UNSUPPORTED_EXPORT|BAD_FIELD)$/)
    expect(error.message).toContain(field)
    expect(error.message).toContain(folder)
    expect(error.message).not.toMatch(/\{\w+\}/)
  })
})

const VALUES: Readonly<Record<string, TinyValue>> = {
  ids: { name: 'input_ids', dtype: 'i64', shape: ['batch', 'tokens'] },
  key: { name: 'past_key_values.0.key', dtype: 'f32', shape: ['batch', 2, 'past', 16] },
  value: { name: 'past_key_values.0.value', dtype: 'f32', shape: ['batch', 2, 'past', 16] },
  presentKey: { name: 'present.0.key', dtype: 'f32', shape: ['batch', 2, 'total', 16] },
  presentValue: { name: 'present.0.value', dtype: 'f32', shape: ['batch', 2, 'total', 16] },
  logits: { name: 'logits', dtype: 'f32', shape: ['batch', 'tokens', 96] },
}
type ValueName = keyof typeof VALUES

/** A graph of one layer without nodes, changed in one place; `null` leaves an input or output away. */
function signature(change: Readonly<Partial<Record<string, TinyValue | null>>> = {}): TinyModel {
  const taken = (names: readonly ValueName[]): TinyValue[] =>
    names.flatMap((name) => {
      const value = change[name] === undefined ? VALUES[name] : change[name]
      return value === null || value === undefined ? [] : [value]
    })
  const more = change.more === undefined || change.more === null ? [] : [change.more]
  return {
    nodes: [],
    inputs: [...taken(['ids', 'key', 'value']), ...more],
    outputs: taken(['logits', 'presentKey', 'presentValue']),
    opsets: { '': 18 },
  }
}

async function placeGraph(model: TinyModel | Buffer): Promise<string> {
  const folder = fresh()
  await mkdir(folder)
  const config = { ...TINY_CONFIG, num_hidden_layers: 1 }
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  await writeFile(join(folder, 'model.onnx'), Buffer.isBuffer(model) ? model : encodeOnnx(model))
  return folder
}

describe('a graph', () => {
  it('of one layer opens', async () => {
    expect((await decoderOf(await placeGraph(signature()))).inputs.past).toHaveLength(1)
  })

  const value = (name: ValueName, change: Partial<TinyValue>): TinyValue => ({
    ...(VALUES[name] as TinyValue),
    ...change,
  })
  it.each([
    ['without tokens', { ids: null }, 'input_ids'],
    ['with embeddings instead', { ids: value('ids', { name: 'inputs_embeds' }) }, 'inputs_embeds'],
    ['of floating tokens', { ids: value('ids', { dtype: 'f32' }) }, 'whole numbers'],
    ['without a past', { key: null, value: null }, 'past'],
    ['with half a past', { value: null }, 'past_key_values.0.value'],
    ['without a present', { presentKey: null, presentValue: null }, 'present'],
    ['without logits', { logits: null }, 'logits'],
    ['of integer logits', { logits: value('logits', { dtype: 'i32' }) }, 'F32 or F16'],
    ['of flat logits', { logits: value('logits', { shape: ['tokens', 96] }) }, '3 dimensions'],
    ['of a cache in bytes', { key: value('key', { dtype: 'u8' }) }, 'past_key_values.0'],
    ['of fused keys', { key: value('key', { shape: ['batch', 'past', 32] }) }, '4 dimensions'],
    ['for four sequences', { ids: value('ids', { shape: [4, 'tokens'] }) }, 'one sequence'],
    ['of heads that disagree', { value: value('value', { shape: [1, 3, 'p', 16] }) }, '2 heads'],
    [
      'with an input nobody feeds',
      { more: { name: 'encoder_hidden_states', dtype: 'f32' as const, shape: [1, 1, 8] } },
      'encoder_hidden_states',
    ],
  ])('%s is refused by name', async (_, change, words) => {
    const error = await caught(openCheckpoint(await placeGraph(signature(change))))
    expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_EXPORT')
    expect(error.message).toContain(words)
    expect(error.message).toContain('model.onnx')
    expect(error.message).not.toMatch(/\{\w+\}/)
  })

  it('is found at the byte where its structure breaks', async () => {
    const whole = Buffer.from(encodeOnnx(signature()))
    const cases: [Buffer, string][] = [
      [whole.subarray(0, whole.length - 3), 'CHECKPOINT_TRUNCATED'],
      // A field of the model whose length is 2^63.
      [
        Buffer.concat([whole, Buffer.from([0x12, ...Array(9).fill(0xff), 0x7f])]),
        'CHECKPOINT_TRUNCATED',
      ],
      [Buffer.concat([whole, Buffer.alloc(12, 0xff)]), 'CHECKPOINT_BAD_FIELD'],
      [Buffer.concat([whole, Buffer.from([0x12, 0xff, 0xff, 0x03])]), 'CHECKPOINT_TRUNCATED'],
      // Group tags were given up before ONNX was made.
      [Buffer.concat([whole, Buffer.from([0x13])]), 'CHECKPOINT_BAD_FIELD'],
      [Buffer.concat([whole, Buffer.from([0x00, 0x00])]), 'CHECKPOINT_BAD_FIELD'],
      [Buffer.concat([whole, whole]), 'CHECKPOINT_BAD_FIELD'],
      [Buffer.from([0x08, 0x0a, 0x12, 0x00]), 'CHECKPOINT_BAD_FIELD'],
    ]
    for (const [bytes, code] of cases) {
      const error = await caught(openCheckpoint(await placeGraph(bytes)))
      expect([error.code, typeof error.details.offset]).toEqual([code, 'number'])
      expect(error.details.file).toMatch(/model\.onnx$/)
    }
  })

  it('with subgraphs in subgraphs ends at a depth', async () => {
    let inner: TinyModel = { nodes: [], inputs: [], outputs: [] }
    for (let depth = 0; depth < 12; depth++) {
      const node = { operator: 'If', inputs: [], outputs: [], domain: '' }
      inner = { ...inner, nodes: [{ ...node, attributes: { body: { graph: inner } } }] }
    }
    const error = await caught(openCheckpoint(await placeGraph({ ...signature(), ...inner })))
    expect(error.message).toContain('at most 8 levels')
  })
})

describe('weights in another file', () => {
  it('are named, when the file is absent, too short, or elsewhere', async () => {
    const folder = await writeOptimumFolder(fresh(), { isExternal: true })
    const data = join(folder, 'onnx', DATA_FILE)
    expect((await openCheckpoint(folder)).files).toContain(data)
    await truncate(data, 1000)
    const short = await caught(openCheckpoint(folder))
    expect(short.code).toBe('CHECKPOINT_EXTERNAL_DATA')
    expect(short.message).toContain(`${data}, got 1000 bytes`)
    await unlink(data)
    expect((await caught(openCheckpoint(folder))).message).toContain('no file there')
  })

  it.each(['../weights', '/etc/passwd', 'a/b', '..', '', 'a\\b'])(
    'are refused at %j, which is no file beside the graph',
    async (location) => {
      const tensor = { name: 'w', dtype: 'f32' as const, shape: [4] }
      const initializers = [{ ...tensor, data: { location, offset: 0, length: 16 } }]
      const error = await caught(openCheckpoint(await placeGraph({ ...signature(), initializers })))
      expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
      expect(error.message).toContain('the external file of weight "w"')
    },
  )

  it.each([
    ['a length that its shape does not have', { offset: 0, length: 8 }, [4]],
    ['a negative offset', { offset: -1, length: 16 }, [4]],
    ['more than 2^53 bytes', { offset: 0, length: 16 }, [2 ** 30, 2 ** 30]],
  ])('are refused with %s', async (_, place, shape) => {
    const tensor = { name: 'w', dtype: 'f32' as const, shape }
    const initializers = [{ ...tensor, data: { location: 'w.bin', ...place } }]
    const error = await caught(openCheckpoint(await placeGraph({ ...signature(), initializers })))
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.message).toContain('weight "w"')
  })
})

describe('a damaged folder', () => {
  it('opens, or ends in an error of ours, and soon', async () => {
    const folder = await writeGenaiFolder(fresh())
    const { graph } = exportTinyLlama({ attention: 'grouped', isExternal: true })
    let numOpened = 0
    for (let seed = 0; seed < 400; seed++) {
      await writeFile(join(folder, 'model.onnx'), mutate(graph, seed))
      const start = performance.now()
      try {
        await openCheckpoint(folder)
        numOpened += 1
      } catch (error) {
        if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
        expect(error.message, `seed ${seed}`).not.toMatch(/\{\w+\}/)
      }
      expect(performance.now() - start, `milliseconds of seed ${seed}`).toBeLessThan(2000)
    }
    // Many fields, such as names of nodes, mean nothing to the reader.
    expect(numOpened).toBeGreaterThan(20)
    expect(numOpened).toBeLessThan(380)
  })

  it('with a damaged configuration ends in an error of ours', async () => {
    const folder = await writeGenaiFolder(fresh())
    const text = JSON.stringify(GENAI_CONFIG)
    const random = seededRandom(5)
    for (let round = 0; round < 200; round++) {
      const at = random.below(text.length)
      const noise = ['{', '"', '-1', 'null', '[]', '1e99', ''][random.below(7)]
      const damaged = text.slice(0, at) + noise + text.slice(at + random.below(6))
      await writeFile(join(folder, 'genai_config.json'), damaged)
      try {
        await openCheckpoint(folder)
      } catch (error) {
        if (!(error instanceof ServingError)) throw new Error(damaged, { cause: error })
      }
    }
  })
})
