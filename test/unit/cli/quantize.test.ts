import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSafetensorsFile } from '../../../src/checkpoint/safetensors/safetensors-reader.ts'
import {
  bf16,
  layoutOf,
  packMatrix,
  quantizationConfig,
} from '../../../src/cli/quantize/compressed-layout.ts'
import { huggingFaceName, rowOrder } from '../../../src/cli/quantize/gguf-llama.ts'
import { TensorFile } from '../../../src/cli/quantize/tensor-file.ts'
import { tinyLlamaFolder } from '../../support/tiny-llama-folder.ts'

const RECIPE = { bits: 4, group: 8, isSymmetric: false } as const

describe('the layout of compressed-tensors', () => {
  const size = [3, 16] as const
  const codes = Uint8Array.from({ length: 48 }, (_, at) => at % 16)
  const scales = Float32Array.of(1, 0.5, 0.25, 2, 4, 8)
  const zeros = Uint8Array.of(1, 2, 3, 4, 5, 6)

  it('packs codes along rows and zero points along columns, lowest bits first', () => {
    const [packed, scale, zero, shape] = packMatrix({ codes, scales, zeros }, size, RECIPE)
    expect([...new Uint32Array(packed!.buffer, packed!.byteOffset, 2)]).toEqual([
      0x7654_3210, 0xfedc_ba98,
    ])
    expect(packed).toHaveLength(3 * 2 * 4)
    expect([...new Uint16Array(scale!.buffer, scale!.byteOffset, 6)]).toEqual([
      0x3f80, 0x3f00, 0x3e80, 0x4000, 0x4080, 0x4100,
    ])
    expect(zero!.readUInt32LE(0)).toBe(0x531)
    expect(zero!.readUInt32LE(4)).toBe(0x642)
    expect([shape!.readBigInt64LE(0), shape!.readBigInt64LE(8)]).toEqual([3n, 16n])
  })

  it('names types and shapes whose bytes are those that are packed', () => {
    for (const recipe of [
      RECIPE,
      { ...RECIPE, bits: 8 },
      { ...RECIPE, isSymmetric: true },
    ] as const) {
      const bytes = { I32: 4, I64: 8, BF16: 2, F16: 2, F32: 4 }
      const expected = layoutOf('m', size, recipe).map(({ dtype, shape }) =>
        shape.reduce((product, extent) => product * extent, bytes[dtype]),
      )
      const packed = packMatrix({ codes, scales, zeros }, size, recipe)
      expect(packed.map(({ length }) => length)).toEqual(expected)
    }
  })

  it('says in config.json what readers need', () => {
    expect(quantizationConfig({ ...RECIPE, isSymmetric: true }, ['lm_head'])).toMatchObject({
      quant_method: 'compressed-tensors',
      format: 'pack-quantized',
      ignore: ['lm_head'],
      config_groups: {
        group_0: {
          targets: ['Linear'],
          weights: { num_bits: 4, type: 'int', symmetric: true, strategy: 'group', group_size: 8 },
        },
      },
    })
  })

  it('rounds to bf16 to nearest even', () => {
    const words = bf16(Float32Array.of(1, 1.003_906_25, 1.011_718_75, -0.1))
    expect([...new Uint16Array(words.buffer, words.byteOffset, 4)]).toEqual([
      0x3f80, 0x3f80, 0x3f82, 0xbdcd,
    ])
  })
})

describe('a GGUF llama in the words of Hugging Face', () => {
  it('has its names', () => {
    expect(huggingFaceName('blk.11.ffn_down.weight')).toBe('model.layers.11.mlp.down_proj.weight')
    expect(huggingFaceName('token_embd.weight')).toBe('model.embed_tokens.weight')
    expect(huggingFaceName('rope_freqs.weight')).toBeNull()
  })

  it('has the halves of each head of q and k apart again', () => {
    const checkpoint = tinyLlamaFolder()
    checkpoint.metadata.set('llama.attention.head_count', 2)
    checkpoint.metadata.set('llama.attention.head_count_kv', 1)
    expect([...rowOrder(checkpoint, 'blk.0.attn_q.weight', 8)!]).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    expect([...rowOrder(checkpoint, 'blk.0.attn_k.weight', 6)!]).toEqual([0, 2, 4, 1, 3, 5])
    expect(rowOrder(checkpoint, 'blk.0.attn_v.weight', 6)).toBeNull()
  })
})

describe('a tensor file', () => {
  it('is read back as it was written, in any order', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-tensor-file-'))
    try {
      const path = join(folder, 'model.safetensors')
      const tensors = [
        { name: 'a', dtype: 'F32', shape: [2, 2] },
        { name: 'b', dtype: 'BF16', shape: [4] },
      ] as const
      const file = await TensorFile.create(path, tensors, { format: 'pt' })
      await file.write('b', Buffer.alloc(8, 1))
      await expect(file.write('a', Buffer.alloc(8))).rejects.toThrow('a is written once')
      await expect(file.write('b', Buffer.alloc(8))).rejects.toThrow('b is written once')
      await expect(file.close()).rejects.toThrow('a was never written')
      await file.write('a', Buffer.alloc(16, 2))
      await file.close()
      await writeFile(join(folder, 'config.json'), '{}')
      const { tensors: read } = await readSafetensorsFile(path)
      const places = [...read.values()].map(({ name, format, shape, offset }) => [
        name,
        format,
        shape,
        offset % 8,
      ])
      expect(places).toEqual([
        ['a', 'F32', [2, 2], 0],
        ['b', 'BF16', [4], 0],
      ])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
