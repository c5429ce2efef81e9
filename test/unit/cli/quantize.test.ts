import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSafetensorsFile } from '../../../src/checkpoint/safetensors/safetensors-reader.ts'
import { isCopied, plainConfig } from '../../../src/cli/quantize/companions.ts'
import {
  bf16,
  layoutOf,
  packMatrix,
  quantizationConfig,
} from '../../../src/cli/quantize/compressed-layout.ts'
import { huggingFaceName, rowOrder } from '../../../src/cli/quantize/gguf-llama.ts'
import { autoGroup, keptLines, planOutput } from '../../../src/cli/quantize/output-plan.ts'
import { TensorFile } from '../../../src/cli/quantize/tensor-file.ts'
import { checkOutput, makeScratch, readWishes } from '../../../src/cli/quantize/wishes.ts'
import type { WeightPlan } from '../../../src/graph/plan-weights.ts'
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
    expect(huggingFaceName('constructor')).toBeNull()
    expect(huggingFaceName('blk.0.constructor.weight')).toBeNull()
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

/** One linear weight for each of the shapes. */
function planOf(
  shapes: Readonly<Record<string, readonly number[]>>,
  layout: 'rows' | 'columns' = 'rows',
) {
  const tensors = Object.entries(shapes).map(([name, shape]) => {
    return { name, shape, format: 'F32', file: 'f', offset: 0, byteLength: 0 } as const
  })
  const head = { value: 'f32', reason: null }
  const plan: WeightPlan = {
    weights: tensors.map((tensor) => {
      return { name: `w.${tensor.name}`, kind: 'linear', tensors: [tensor], layout }
    }),
    tensors: tensors.map(({ name }) => {
      const stays = { stored: 'F32', packed: 'F32', packedBytes: 0, keptBecause: null } as const
      return { name, role: 'linear', ...stays }
    }),
    packedBytes: 0,
    decided: { head, embedding: head, group: head, symmetry: head },
  }
  const checkpoint = { ...tinyLlamaFolder(), tensors: new Map(tensors.map((t) => [t.name, t])) }
  const output = (group: number) => planOutput(checkpoint, plan, { ...RECIPE, group })
  return { plan, output }
}

describe('the plan of a quantized folder', () => {
  it('leaves dense what has no whole groups, names it as ignored, and says why', () => {
    const shapes = { 'a.weight': [64, 128], 'b.weight': [64, 80], 'c.weight': [8, 80] }
    const { plan, output } = planOf({ ...shapes, 'd.weight': [2, 64, 128] })
    expect(autoGroup(plan)).toBe(128)
    const { quantized, ignored, kept } = output(128)
    expect(quantized.map(({ module }) => module)).toEqual(['a'])
    expect(ignored).toEqual(['lm_head', 'b', 'c'])
    expect(keptLines(kept)).toEqual([
      '2 left dense, 80 inputs are no whole groups of 128: b.weight and 1 more',
      '1 left dense, stored as a stack of matrices: d.weight',
    ])
  })

  it('refuses to quantize nothing, with the first matrix, its width and what to do', () => {
    const narrow = planOf({ 'a.weight': [64, 64], 'b.weight': [64, 32] })
    expect(() => narrow.output(128)).toThrow(
      expect.objectContaining({
        code: 'CLI_CANNOT_QUANTIZE',
        message: expect.stringMatching(
          /the first, a\.weight: 64 inputs are no whole groups of 128; give --group 32$/,
        ),
      }),
    )
    const odd = planOf({ 'a.weight': [64, 80] })
    expect(autoGroup(odd.plan)).toBeNull()
    expect(() => odd.output(32)).toThrow('a.weight: 80 inputs are no whole groups of 32;')
    const turned = planOf({ 'a.weight': [64, 64] }, 'columns')
    expect(autoGroup(turned.plan)).toBeNull()
    expect(() => turned.output(32)).toThrow('a.weight: stored with inputs as rows')
    expect(() => planOf({}).output(32)).toThrow('got none in any layer')
  })
})

describe('the command line of quantize', () => {
  const written = { method: 'rtn', weights: 'int4', group: 'auto', symmetry: 'symmetric' }

  it.each(['method', 'weights', 'group', 'symmetry'])(
    'takes no word of every object for --%s',
    (flag) => {
      for (const word of ['__proto__', 'constructor', 'toString']) {
        const read = () => readWishes({ ...written, output: 'x', [flag]: word })
        expect(read).toThrow(`got ${word}; choose one`)
      }
    },
  )

  it('wants a parent folder that is there, and does not make one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-output-'))
    try {
      await expect(checkOutput(join(folder, 'x'))).resolves.toBeUndefined()
      await expect(checkOutput(join(folder, 'x', 'y'))).rejects.toMatchObject({
        code: 'CLI_BAD_ARGUMENT',
        message: `expected -o to be in a folder that is there, got ${join(folder, 'x')}, which is none; make that folder first, or choose another place`,
      })
      await expect(makeScratch(join(folder, 'x', 'y'))).rejects.toMatchObject({
        code: 'CLI_BAD_ARGUMENT',
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('what goes on beside the weights', () => {
  it('is text, but nothing on how the source was quantized', () => {
    const names = [
      'tokenizer.json',
      'generation_config.json',
      'chat_template.jinja',
      'LICENSE',
      'config.json',
      'model.safetensors.index.json',
      'quantize_config.json',
      'quant_config.json',
      'hf_quant_config.json',
      'quantization_config.json',
      'ingot-quantization.json',
      'model.safetensors',
    ]
    expect(names.filter(isCopied)).toEqual(names.slice(0, 4))
    expect(plainConfig({ a: 1, quantization_config: {}, compression_config: {} })).toEqual({ a: 1 })
  })
})
