import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ByteCursor } from '../../../src/checkpoint/gguf/byte-cursor.ts'
import { readGguf } from '../../../src/checkpoint/gguf/gguf-reader.ts'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import {
  encodeGguf,
  type GgufSpec,
  type GgufValue,
  smallGguf,
  strings,
  writeGguf,
} from '../../support/gguf-writer.ts'

let folder: string
let numFiles = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-gguf-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function place(spec: GgufSpec | Buffer): Promise<string> {
  const path = join(folder, `${numFiles++}.gguf`)
  await writeFile(path, Buffer.isBuffer(spec) ? spec : encodeGguf(spec))
  return path
}

async function errorOf(spec: GgufSpec | Buffer) {
  return caught(openCheckpoint(await place(spec)))
}

function value(entry: GgufValue): GgufSpec {
  return { metadata: [['key', entry]] }
}

const norm = { name: 'norm', dims: [64], type: 0, data: Buffer.alloc(256) }

describe('a vocabulary that is passed over', () => {
  const tokens = Array.from({ length: 3_000 }, (_, id) =>
    id % 500 === 0 ? 'x'.repeat(70_000) : `t${id}`,
  )
  const vocabulary: NonNullable<GgufSpec['metadata']> = [
    ['tokenizer.ggml.tokens', strings(tokens)],
    [
      'tokenizer.ggml.scores',
      { type: 'array', of: 'f32', values: tokens.map(() => ({ type: 'f32', value: 0.5 })) },
    ],
    ['tokenizer.ggml.eos_token_id', { type: 'u32', value: 7 }],
    ['general.name', { type: 'string', value: 'after it' }],
  ]

  it('leaves everything else as it is', async () => {
    const path = await place({ metadata: vocabulary, tensors: [norm] })
    const [whole, lean] = [await readGguf(path), await readGguf(path, { skipsVocabulary: true })]
    const kept = [...whole.metadata].filter(([key]) => !/\.(tokens|scores)$/.test(key))
    expect([...lean.metadata]).toEqual(kept)
    expect(lean.tensors).toEqual(whole.tensors)
    expect(whole.metadata.get('tokenizer.ggml.tokens')).toEqual(tokens)
  })

  it('is refused where it ends too early, as when it is read', async () => {
    const bytes = encodeGguf({ metadata: vocabulary, tensors: [norm] })
    for (const numBytes of [60, 90, 20_000, 100_000, 430_000]) {
      const path = await place(bytes.subarray(0, numBytes))
      const told = await Promise.all(
        [true, false].map((skipsVocabulary) => caught(readGguf(path, { skipsVocabulary }))),
      )
      expect(told[0]).toMatchObject({ code: (told[1] as { code: string }).code })
    }
  })
})

describe('a GGUF file that is right', () => {
  it('presents metadata of every type', async () => {
    const { metadata, kind } = await openCheckpoint(await place(smallGguf()))
    expect(kind).toBe('gguf')
    expect(metadata.get('general.architecture')).toBe('llama')
    expect(metadata.get('small.u8')).toBe(200)
    expect(metadata.get('small.i8')).toBe(-100)
    expect(metadata.get('small.u16')).toBe(60_000)
    expect(metadata.get('small.i16')).toBe(-30_000)
    expect(metadata.get('small.i32')).toBe(-5)
    expect(metadata.get('small.f32')).toBe(0.5)
    expect(metadata.get('small.f64')).toBe(1e-9)
    expect(metadata.get('small.bool')).toBe(true)
    expect(metadata.get('small.u64')).toBe(2n ** 63n + 1n)
    expect(metadata.get('small.i64')).toBe(-7)
    expect(metadata.get('small.nested')).toEqual([
      ['a', 'b'],
      [1, 2],
    ])
    expect((metadata.get('tokenizer.ggml.tokens') as string[])[39]).toBe('Ġtoken39')
  })

  it('presents tensors outermost dimension first, with offsets from the start of the file', async () => {
    const path = join(folder, 'whole.gguf')
    const bytes = await writeGguf(path, smallGguf())
    const { tensors, totalTensorBytes, files } = await openCheckpoint(path)
    expect(files).toEqual([path])
    const offset = bytes.length - 256
    expect(tensors.get('output_norm.weight')).toEqual({
      name: 'output_norm.weight',
      format: 'F32',
      shape: [64],
      file: path,
      offset,
      byteLength: 256,
    })
    expect(bytes.subarray(offset).every((byte) => byte === 3)).toBe(true)
    expect(tensors.get('token_embd.weight')?.shape).toEqual([40, 64])
    expect(tensors.get('token_embd.weight')?.format).toBe('Q8_0')
    expect([...tensors.keys()][1]).toBe('blk.0.attn_q.weight')
    expect(totalTensorBytes).toBe(40 * 68 + 64 * 40 + 256)
  })

  it('reads version 2 and a version 3 file without anything in it', async () => {
    expect((await openCheckpoint(await place({ ...smallGguf(), version: 2 }))).tensors.size).toBe(3)
    expect((await openCheckpoint(await place({}))).metadata.size).toBe(0)
  })

  it('obeys general.alignment', async () => {
    const spec: GgufSpec = {
      alignment: 4096,
      metadata: [['general.alignment', { type: 'u32', value: 4096 }]],
      tensors: [norm, { ...norm, name: 'norm2' }],
    }
    const { tensors } = await openCheckpoint(await place(spec))
    expect(tensors.get('norm')?.offset).toBe(4096)
    expect(tensors.get('norm2')?.offset).toBe(8192)
  })

  it('keeps 64-bit integers exact on both sides of 2^53', async () => {
    const spec: GgufSpec = {
      metadata: [
        ['safe', { type: 'u64', value: 2n ** 53n - 1n }],
        ['beyond', { type: 'u64', value: 2n ** 53n }],
        ['lowest', { type: 'i64', value: -(2n ** 63n) }],
        ['negative', { type: 'i64', value: -(2n ** 53n) + 1n }],
      ],
    }
    const { metadata } = await openCheckpoint(await place(spec))
    expect(metadata.get('safe')).toBe(Number.MAX_SAFE_INTEGER)
    expect(metadata.get('beyond')).toBe(2n ** 53n)
    expect(metadata.get('lowest')).toBe(-(2n ** 63n))
    expect(metadata.get('negative')).toBe(-Number.MAX_SAFE_INTEGER)
  })

  it('reads strings that lie across window ends and ones longer than a window', async () => {
    const long = 'x€'.repeat(1_000_000)
    const many = Array.from({ length: 50_000 }, (_, i) => `${i} ü \ufffd \ufeff`)
    const spec: GgufSpec = {
      metadata: [
        ['many', strings(many)],
        ['long', { type: 'string', value: long }],
        ['last', { type: 'bool', value: false }],
      ],
    }
    const { metadata } = await openCheckpoint(await place(spec))
    expect(metadata.get('many')).toEqual(many)
    expect(metadata.get('long') === long).toBe(true)
    expect(metadata.get('last')).toBe(false)
  })
})

describe('what is no GGUF file', () => {
  it('is refused with what was found and what is supported', async () => {
    const safetensors = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')])
    const inner = join(folder, 'model-folder')
    await mkdir(inner)
    for (const [path, got] of [
      [await place(safetensors), 'a safetensors file'],
      [inner, 'a folder'],
      [await place(Buffer.alloc(0)), 'an empty file'],
      [await place(Buffer.from('PK\u0003\u0004')), 'begins with 50 4b 03 04'],
      ['/dev/null', 'a device'],
    ] as const) {
      const error = await caught(openCheckpoint(path))
      expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_KIND')
      expect(error.message).toContain(got)
      expect(error.message).toContain(path)
    }
    const error = await caught(openCheckpoint(inner))
    expect(error.message).toContain('a GGUF file (version 2 or 3)')
  })

  it('is not found by a path that leads nowhere', async () => {
    const error = await caught(openCheckpoint(join(folder, 'none.gguf')))
    expect(error.code).toBe('CHECKPOINT_NOT_FOUND')
  })
})

describe('a file that changes under the reader', () => {
  it('is named when it is no GGUF any more', async () => {
    const error = await caught(readGguf(await place(Buffer.from('GGML and what else was there'))))
    expect(error.code).toBe('CHECKPOINT_BAD_MAGIC')
    expect(error.message).toContain('for magic at byte 0, got 47 47 4d 4c')
  })

  it('is named when it has become shorter', async () => {
    const file = await place(Buffer.alloc(100))
    const handle = await open(file, 'r')
    const cursor = new ByteCursor({ file, handle, fileSize: 1000, limitBytes: 1000 })
    const error = await caught(cursor.need(200, 'anything'))
    await handle.close()
    expect(error.code).toBe('CHECKPOINT_CHANGED')
    expect(error.retryable).toBe(true)
  })
})

describe('a header that lies', () => {
  it('is refused by the name of its version and byte order', async () => {
    const first = await errorOf({ version: 1 })
    expect(first.code).toBe('CHECKPOINT_UNSUPPORTED_VERSION')
    expect(first.message).toContain('got version 1')
    const bigEndian = await errorOf({ version: 0x0300_0000 })
    expect(bigEndian.message).toContain('big-endian file (version 3)')
    expect(bigEndian.details).toMatchObject({ offset: 4, field: 'version' })
  })

  it.each([
    ['tensor count', { numTensors: 2n ** 63n }, 8],
    ['tensor count', { numTensors: 1000n }, 8],
    ['metadata count', { numKeyValues: 2n ** 64n - 1n }, 16],
  ] as const)('cannot claim a %s that the file could not hold', async (field, lie, offset) => {
    const error = await errorOf({ ...smallGguf(), ...lie })
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.details).toMatchObject({ field, offset })
  })

  it('is truncated when it ends anywhere before its end', async () => {
    const bytes = encodeGguf(smallGguf())
    for (let length = 4; length < bytes.length - 32; length += 41) {
      const error = await errorOf(bytes.subarray(0, length))
      expect(['CHECKPOINT_TRUNCATED', 'CHECKPOINT_BAD_FIELD']).toContain(error.code)
    }
  })
})

describe('metadata that lies', () => {
  it.each<[string, GgufSpec, string, string]>([
    [
      'a string length beyond 2^53',
      value({ type: 'string', value: 'x', length: 2n ** 64n - 1n }),
      'CHECKPOINT_TRUNCATED',
      'length',
    ],
    [
      'a string length beyond the file',
      value({ type: 'string', value: 'x', length: 5000n }),
      'CHECKPOINT_TRUNCATED',
      'length',
    ],
    [
      'an array count beyond the file',
      value({ type: 'array', of: 'u8', values: [], count: 2n ** 62n }),
      'CHECKPOINT_BAD_FIELD',
      'count',
    ],
    [
      'a value type of 13',
      value({ type: 'raw', number: 13, bytes: Buffer.alloc(4) }),
      'CHECKPOINT_BAD_FIELD',
      'key',
    ],
    ['a boolean of 2', value({ type: 'bool', value: 2 }), 'CHECKPOINT_BAD_FIELD', 'key'],
    [
      'text that is not UTF-8',
      value({ type: 'string', value: Buffer.from([0x61, 0xff]) }),
      'CHECKPOINT_BAD_FIELD',
      'key',
    ],
    ['an empty key', { metadata: [['', { type: 'u8', value: 1 }]] }, 'CHECKPOINT_BAD_FIELD', 'key'],
    [
      'the same key twice',
      {
        metadata: [
          ['a', { type: 'u8', value: 1 }],
          ['a', { type: 'u8', value: 2 }],
        ],
      },
      'CHECKPOINT_BAD_FIELD',
      'metadata[1].key',
    ],
  ])('is refused for %s', async (_, spec, code, field) => {
    const error = await errorOf(spec)
    expect(error.code).toBe(code)
    expect(String(error.details.field)).toContain(field)
    expect(error.details.offset).toBeGreaterThanOrEqual(24)
  })

  it('is refused for arrays nested without end', async () => {
    let nested: GgufValue = { type: 'array', of: 'u8', values: [] }
    for (let depth = 0; depth < 10_000; depth++) {
      nested = { type: 'raw', number: 9, bytes: nestOnce(nested) }
    }
    const error = await errorOf(value(nested))
    expect(error.message).toContain('arrays nested at most 4 deep')
  })

  it.each([0, 24, 2 ** 31 + 1])('is refused for an alignment of %i', async (alignment) => {
    const error = await errorOf({
      metadata: [['general.alignment', { type: 'u32', value: alignment }]],
      tensors: [norm],
    })
    expect(error.code).toBe('CHECKPOINT_BAD_FIELD')
    expect(error.message).toContain('general.alignment')
  })
})

function nestOnce(inner: GgufValue): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt32LE(9, 0)
  head.writeBigUInt64LE(1n, 4)
  const body = inner.type === 'raw' ? inner.bytes : Buffer.alloc(12)
  return Buffer.concat([head, body])
}

describe('a tensor table that lies', () => {
  it.each<[string, NonNullable<GgufSpec['tensors']>, string, string]>([
    ['a name of 65 bytes', [{ ...norm, name: 'n'.repeat(65) }], 'CHECKPOINT_TOO_LARGE', 'name'],
    ['no name', [{ ...norm, name: '' }], 'CHECKPOINT_BAD_TENSOR', 'name'],
    ['the same name twice', [norm, norm], 'CHECKPOINT_BAD_TENSOR', 'tensor[1].name'],
    ['five dimensions', [{ ...norm, dims: [2, 2, 2, 2, 4] }], 'CHECKPOINT_BAD_TENSOR', 'numDims'],
    [
      '2^32 - 1 dimensions',
      [{ ...norm, numDims: 2 ** 32 - 1 }],
      'CHECKPOINT_BAD_TENSOR',
      'numDims',
    ],
    ['an extent of 0', [{ ...norm, dims: [64, 0] }], 'CHECKPOINT_BAD_TENSOR', 'dims[1]'],
    ['an extent beyond 2^53', [{ ...norm, dims: [2n ** 60n] }], 'CHECKPOINT_BAD_TENSOR', 'dims[0]'],
    [
      'a product beyond 2^64',
      [{ ...norm, dims: [2n ** 40n, 2n ** 40n] }],
      'CHECKPOINT_BAD_TENSOR',
      'dims',
    ],
    ['a row of half a block', [{ ...norm, dims: [48], type: 3 }], 'CHECKPOINT_BAD_TENSOR', 'dims'],
    ['an offset off the alignment', [{ ...norm, offset: 8n }], 'CHECKPOINT_BAD_TENSOR', 'offset'],
    ['an offset beyond 2^53', [{ ...norm, offset: 2n ** 63n }], 'CHECKPOINT_BAD_TENSOR', 'offset'],
    [
      'bytes behind the end of the file',
      [{ ...norm, dims: [1024] }],
      'CHECKPOINT_TRUNCATED',
      'offset',
    ],
    [
      'bytes of another tensor',
      [norm, { ...norm, name: 'b', offset: 32n }],
      'CHECKPOINT_BAD_TENSOR',
      '"b"',
    ],
  ])('is refused for %s', async (_, tensors, code, field) => {
    const error = await errorOf({ tensors })
    expect(error.code).toBe(code)
    expect(String(error.details.field)).toContain(field)
  })

  it.each([
    [16, 'IQ2_XXS'],
    [9, 'Q8_1'],
    [999, 'unknown type 999'],
  ])('is refused for type %i, by the name of the type', async (type, name) => {
    const error = await errorOf({ tensors: [{ ...norm, type }] })
    expect(error.code).toBe('CHECKPOINT_UNSUPPORTED_TENSOR_TYPE')
    expect(error.message).toContain(`got ${name}`)
    expect(error.message).toContain('tensor[0] "norm".type')
  })
})
