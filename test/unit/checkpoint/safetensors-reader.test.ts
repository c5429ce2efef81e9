import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import {
  encodeRaw,
  encodeSafetensors,
  smallSafetensors,
  writeModelFolder,
} from '../../support/safetensors-writer.ts'

let root: string
let numFolders = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-safetensors-'))
})
afterAll(() => rm(root, { recursive: true }))

const CONFIG = { model_type: 'llama' }

function place(files: Readonly<Record<string, Buffer | string | object>>): Promise<string> {
  numFolders += 1
  return writeModelFolder(join(root, String(numFolders)), { 'config.json': CONFIG, ...files })
}

/** The error that a file with this header and so many bytes of tensors ends in. */
async function refusalOf(header: string | Buffer, dataBytes = 0, length?: bigint) {
  const file = encodeRaw(header, Buffer.alloc(dataBytes), length)
  return caught(openCheckpoint(await place({ 'model.safetensors': file })))
}

function entry(dtype: string, shape: readonly unknown[], offsets: readonly unknown[]) {
  return JSON.stringify({ dtype, shape, data_offsets: offsets })
}

describe('a folder with model.safetensors', () => {
  it('is read with its tensors in the order of their bytes', async () => {
    const folder = await place({ 'model.safetensors': smallSafetensors() })
    const { kind, files, tensors, totalTensorBytes } = await openCheckpoint(folder)
    expect(kind).toBe('safetensors')
    const file = join(folder, 'model.safetensors')
    expect(files).toEqual([join(folder, 'config.json'), file])
    expect([...tensors.keys()]).toEqual([
      'model.embed_tokens.weight',
      'model.norm.weight',
      'lm_head.weight',
      'scalar',
      'empty',
    ])
    const { offset, ...norm } = tensors.get('model.norm.weight')!
    expect(norm).toEqual({
      name: 'model.norm.weight',
      format: 'F32',
      shape: [4],
      file,
      byteLength: 16,
    })
    expect(offset).toBe(tensors.get('model.embed_tokens.weight')!.offset + 64)
    expect(tensors.get('scalar')).toMatchObject({ shape: [], byteLength: 4 })
    expect(tensors.get('empty')).toMatchObject({ shape: [0, 4], byteLength: 0 })
    expect(totalTensorBytes).toBe(64 + 16 + 64 + 4)
  })

  it('has the members of its config.json as metadata, nested as they are', async () => {
    const config = {
      model_type: 'llama',
      rope_parameters: { rope_type: 'llama3', factor: 8.5 },
      eos_token_id: [1, 2],
      head_dim: null,
      tie_word_embeddings: true,
      __proto__x: 1,
    }
    const folder = await place({
      'config.json': JSON.stringify(config).replace('__proto__x', '__proto__'),
      'generation_config.json': { eos_token_id: 7 },
      'model.safetensors': smallSafetensors(),
    })
    const { metadata } = await openCheckpoint(folder)
    expect([...metadata]).toEqual([
      ['model_type', 'llama'],
      [
        'rope_parameters',
        new Map<string, unknown>([
          ['rope_type', 'llama3'],
          ['factor', 8.5],
        ]),
      ],
      ['eos_token_id', [1, 2]],
      ['head_dim', null],
      ['tie_word_embeddings', true],
      ['__proto__', 1],
      ['generation_config', new Map([['eos_token_id', 7]])],
    ])
  })

  it('may be named by the file itself', async () => {
    const folder = await place({ 'other.safetensors': smallSafetensors() })
    const file = join(folder, 'other.safetensors')
    expect((await openCheckpoint(file)).files).toEqual([join(folder, 'config.json'), file])
  })

  it('may be made of links, as the cache of Hugging Face is', async () => {
    const blobs = await place({ blob: smallSafetensors() })
    const folder = await place({})
    await symlink(join(blobs, 'blob'), join(folder, 'model.safetensors'))
    expect((await openCheckpoint(folder)).tensors.size).toBe(5)
  })

  it('is refused when weights or config.json are absent', async () => {
    const withoutWeights = await caught(openCheckpoint(await place({})))
    expect(withoutWeights.code).toBe('CHECKPOINT_UNSUPPORTED_KIND')
    expect(withoutWeights.message).toContain('model.safetensors or model.safetensors.index.json')
    const folder = join(root, 'without-config')
    await mkdir(folder)
    await writeFile(join(folder, 'model.safetensors'), smallSafetensors())
    for (const path of [folder, join(folder, 'model.safetensors')]) {
      const error = await caught(openCheckpoint(path))
      expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_KIND')
      expect(error.message).toContain('without config.json')
    }
  })

  it('is refused when what should be a file is none', async () => {
    const folder = await place({})
    await mkdir(join(folder, 'model.safetensors'))
    expect((await caught(openCheckpoint(folder))).code).toBe('CHECKPOINT_UNSUPPORTED_KIND')
  })

  it.each([
    ['no JSON', 'model_type: llama'],
    ['no object', '[]'],
    ['NaN', '{"rms_norm_eps": NaN}'],
    ['a key twice', '{"model_type": "llama", "a": {"b": 1, "\\u0062": 2}}'],
    ['too deep', `{"a": ${'['.repeat(100_000)}`],
    ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['empty', ''],
  ])('is refused when its config.json is %s', async (_, config) => {
    const files = { 'config.json': config, 'model.safetensors': smallSafetensors() }
    const error = await caught(openCheckpoint(await place(files)))
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.message).toContain('config.json')
  })

  it('is refused when its config.json is huge, before it is read', async () => {
    const folder = await place({ 'model.safetensors': smallSafetensors() })
    await truncate(join(folder, 'config.json'), 2 ** 40)
    expect((await caught(openCheckpoint(folder))).code).toBe('CHECKPOINT_TOO_LARGE')
  })
})

describe('a safetensors header', () => {
  it.each([
    ['beyond the file', 100n, 'CHECKPOINT_TRUNCATED'],
    ['of 100 MB and one byte', 100_000_001n, 'CHECKPOINT_TOO_LARGE'],
    ['of 2^63', 2n ** 63n, 'CHECKPOINT_TOO_LARGE'],
    ['of 2^64 - 1', 2n ** 64n - 1n, 'CHECKPOINT_TOO_LARGE'],
    ['of nothing', 0n, 'CHECKPOINT_BAD_FIELD'],
  ])('is refused for a length %s', async (_, length, code) => {
    expect((await refusalOf('{}', 0, length)).code).toBe(code)
  })

  it('is refused when the file ends in its length', async () => {
    const folder = await place({ 'model.safetensors': Buffer.alloc(7) })
    expect((await caught(openCheckpoint(folder))).code).toBe('CHECKPOINT_TRUNCATED')
  })

  it.each([
    ['a list', '[]'],
    ['padded in front', ' {}'],
    ['cut off', '{"a": {"dtype": "F32"'],
    ['two objects', '{}{}'],
    ['metadata that are numbers', '{"__metadata__": {"a": 1}}'],
    ['metadata that are no object', '{"__metadata__": "pt"}'],
    ['metadata twice', '{"__metadata__": {}, "__metadata__": {}}'],
  ])('is refused as %s', async (_, header) => {
    expect((await refusalOf(header)).code).toBe('CHECKPOINT_BAD_FIELD')
  })

  it('is taken with spaces behind it, as writers align it', async () => {
    const file = encodeRaw(`{"a":${entry('F32', [1], [0, 4])}}       `, Buffer.alloc(4))
    const { tensors } = await openCheckpoint(await place({ 'model.safetensors': file }))
    expect(tensors.get('a')?.offset).toBe(file.length - 4)
  })

  it('is refused for a name given twice, naming it and its place', async () => {
    const header = `{"a":${entry('F32', [1], [0, 4])},"a":${entry('F32', [1], [4, 8])}}`
    const error = await refusalOf(header, 8)
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.details).toMatchObject({
      got: '"a" a second time',
      offset: 8 + header.lastIndexOf('"a"'),
    })
  })

  it.each([
    ['a length other than shape and dtype say', entry('F32', [2], [0, 4]), '8 bytes for F32'],
    ['a shape that overflows', entry('F32', [2 ** 40, 2 ** 40], [0, 4]), 'more than 2^53'],
    ['an extent that is negative', entry('F32', [-1], [0, 4]), 'whole numbers'],
    ['an extent that is no number', entry('F32', ['1'], [0, 4]), 'whole numbers'],
    ['an extent with a fraction', entry('F32', [0.5, 2], [0, 4]), 'whole numbers'],
    ['too many dimensions', entry('F32', Array(9).fill(1), [0, 4]), 'at most 8'],
    ['an offset of 2^63', `{"dtype":"F32","shape":[1],"data_offsets":[0,${2n ** 63n}]}`, 'two'],
    ['offsets the wrong way round', entry('F32', [1], [4, 0]), 'a range'],
    ['three offsets', entry('F32', [1], [0, 4, 8]), 'two whole numbers'],
    ['no offsets', '{"dtype":"F32","shape":[1]}', 'two whole numbers'],
    ['no dtype', '{"shape":[1],"data_offsets":[0,4]}', 'one of F32, F16, BF16'],
    ['a dtype that nobody knows', entry('F31', [1], [0, 4]), 'one of F32, F16, BF16'],
    [
      'a member that nobody knows',
      '{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}',
      'only',
    ],
    ['no object', '4', 'an object'],
    ['a gap in front of it', entry('F16', [1], [2, 4]), 'begin at 0'],
  ])('is refused for a tensor with %s, naming the tensor', async (_, tensor, expected) => {
    const error = await refusalOf(`{"layer.weight":${tensor}}`, 4)
    expect(error.code).toBe('CHECKPOINT_BAD_TENSOR')
    expect(error.message).toContain('model.safetensors')
    expect(error.message).toContain('"layer.weight"')
    expect(String(error.details.expected)).toContain(expected)
    expect(error.details.offset).toBe(9)
  })

  it('is refused for a dtype that is known and not supported, with those that are', async () => {
    const error = await refusalOf(`{"a":${entry('F8_E5M2', [4], [0, 4])}}`, 4)
    expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_TENSOR_TYPE')
    expect(error.details).toMatchObject({
      got: 'F8_E5M2',
      expected: 'one of F32, F16, BF16, F8_E4M3, F8_E8M0, I8, U8, I32, I64',
    })
  })

  it('is refused for tensors that overlap or leave a gap, naming the second', async () => {
    for (const [begin, kind] of [
      [2, 'an overlap'],
      [6, 'a gap'],
    ] as const) {
      const second = entry('F32', [1], [begin, begin + 4])
      const error = await refusalOf(`{"a":${entry('F32', [1], [0, 4])},"b":${second}}`, begin + 4)
      expect(error.code).toBe('CHECKPOINT_BAD_TENSOR')
      expect(error.message).toContain('"b"')
      expect(error.message).toContain(kind)
    }
  })

  it('is refused for bytes behind the last tensor, and for a tensor beyond the file', async () => {
    const header = `{"a":${entry('F32', [1], [0, 4])}}`
    expect((await refusalOf(header, 5)).code).toBe('CHECKPOINT_BAD_FIELD')
    expect((await refusalOf(header, 3)).code).toBe('CHECKPOINT_TRUNCATED')
  })

  it('shows no more than a line of a hostile value', async () => {
    const long = 'x'.repeat(1_000_000)
    const error = await refusalOf(`{"${long}":{"dtype":"${long}","shape":["${long}"]}}`)
    expect(error.message.length).toBeLessThan(500)
  })
})

describe('a folder with an index', () => {
  const index = (map: Readonly<Record<string, unknown>>) => ({
    'model.safetensors.index.json': { metadata: { total_size: 1 }, weight_map: map },
  })
  const first = 'model-00001-of-00002.safetensors'
  const second = 'model-00002-of-00002.safetensors'
  const one = { shape: [1] }

  it('is read from all its shards', async () => {
    const folder = await place({
      ...index({ a: first, b: second, c: second }),
      [first]: encodeSafetensors({ a: one }),
      [second]: encodeSafetensors({ c: one, b: { shape: [2] } }),
    })
    const { files, tensors, totalTensorBytes } = await openCheckpoint(folder)
    expect(files).toEqual(['config.json', first, second].map((name) => join(folder, name)))
    expect([...tensors].map(([name, { file }]) => [name, file])).toEqual([
      ['a', join(folder, first)],
      ['c', join(folder, second)],
      ['b', join(folder, second)],
    ])
    expect(totalTensorBytes).toBe(16)
  })

  it('names a shard that is missing, and a tensor of it', async () => {
    const folder = await place({
      ...index({ a: first, b: second, c: second }),
      [first]: encodeSafetensors({ a: one }),
    })
    const error = await caught(openCheckpoint(folder))
    expect(error.code).toBe('CHECKPOINT_SHARD_MISSING')
    const shard = join(folder, second)
    expect(error.details).toMatchObject({ shard, tensor: '"b"', numTensors: 2 })
  })

  it.each([
    ['swapped', { a: one }, { b: one }, { a: second, b: first }, '"b"', first, second],
    ['one more', { a: one, x: one }, { b: one }, { a: first, b: second }, '"x"', 'no shard', first],
    [
      'one less',
      { a: one },
      { b: one },
      { a: first, b: second, c: first },
      '"c"',
      first,
      'no shard',
    ],
    ['twice', { a: one, b: one }, { b: one }, { a: first, b: second }, '"b"', second, first],
  ])('names a tensor that lies elsewhere: %s', async (what, inFirst, inSecond, map, ...names) => {
    const folder = await place({
      ...index(map),
      [first]: encodeSafetensors(inFirst),
      [second]: encodeSafetensors(inSecond),
    })
    const error = await caught(openCheckpoint(folder))
    expect(error.code).toBe('CHECKPOINT_SHARD_MISMATCH')
    const { tensor, expected, got } = error.details
    if (what === 'swapped') expect([tensor, expected, got]).toEqual(['"a"', second, first])
    else expect([tensor, expected, got]).toEqual(names)
  })

  it.each([
    ['../other.safetensors'],
    ['/etc/passwd.safetensors'],
    ['sub/model.safetensors'],
    ['..\\model.safetensors'],
    ['config.json'],
    ['a\0.safetensors'],
    [7],
    [''],
  ])('refuses the shard name %j, which is no file beside the index', async (shard) => {
    const error = await caught(openCheckpoint(await place(index({ a: shard }))))
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.message).toContain('weight_map["a"]')
  })

  it('refuses an index without shards, and one of thousands', async () => {
    const empty = await caught(openCheckpoint(await place(index({}))))
    expect(empty.code).toBe('CHECKPOINT_BAD_FIELD')
    const many = Array.from({ length: 5000 }, (_, i) => [`t${i}`, `${i}.safetensors`])
    const error = await caught(openCheckpoint(await place(index(Object.fromEntries(many)))))
    expect(error.message).toContain('at most 4096 shards')
  })
})
