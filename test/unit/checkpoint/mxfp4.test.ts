import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import {
  encodeSafetensors,
  type TensorSpec,
  writeModelFolder,
} from '../../support/safetensors-writer.ts'

let root: string
let numFolders = 0

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-mxfp4-'))
})
afterAll(() => rm(root, { recursive: true }))

const M = 'model.layers.0.mlp.experts.down_proj'
const SOUND: Readonly<Record<string, TensorSpec>> = {
  [`${M}_blocks`]: { dtype: 'U8', shape: [4, 6, 3, 16] },
  [`${M}_scales`]: { dtype: 'U8', shape: [4, 6, 3] },
  [`${M}_bias`]: { dtype: 'BF16', shape: [4, 6] },
}

async function folder(
  tensors: Readonly<Record<string, TensorSpec>>,
  config: object = {},
): Promise<string> {
  numFolders += 1
  return writeModelFolder(join(root, String(numFolders)), {
    'config.json': {
      model_type: 'gpt_oss',
      quantization_config: { quant_method: 'mxfp4', modules_to_not_convert: ['x'], ...config },
    },
    'model.safetensors': encodeSafetensors(tensors),
  })
}

describe('a folder in MXFP4', () => {
  it('has one tensor of blocks and their exponents, named as the dense one', async () => {
    const path = await folder(SOUND)
    const { tensors, quantization } = await openCheckpoint(path)
    expect(quantization).toBe('MXFP4, an exponent a block of 32')
    expect([...tensors.keys()]).toEqual([M, `${M}_bias`])
    const file = join(path, 'model.safetensors')
    const { exponents, offset, ...rest } = tensors.get(M)!
    expect(rest).toEqual({
      name: M,
      format: 'MXFP4',
      shape: [4, 6, 96],
      file,
      byteLength: 4 * 6 * 3 * 17,
    })
    expect(exponents).toMatchObject({ file, offset: offset + 4 * 6 * 3 * 16, byteLength: 72 })
  })

  it.each<[string, Readonly<Record<string, TensorSpec>>, RegExp]>([
    ['blocks alone', { [`${M}_blocks`]: SOUND[`${M}_blocks`]! }, /_scales.*none of that name/],
    [
      'scales of other blocks',
      { ...SOUND, [`${M}_scales`]: { dtype: 'U8', shape: [4, 6, 4] } },
      /\[4, 6, 3\].*\[4, 6, 4\]/,
    ],
    [
      'blocks of 8 bytes',
      { ...SOUND, [`${M}_blocks`]: { dtype: 'U8', shape: [4, 6, 3, 8] } },
      /\[n, n, n, 16\].*\[4, 6, 3, 8\]/,
    ],
    ['scales alone', { [`${M}_scales`]: SOUND[`${M}_scales`]! }, /U8 that belongs to none/],
  ])('refuses %s', async (_, tensors, message) => {
    const error = await caught(openCheckpoint(await folder(tensors)))
    expect(error.code).toMatch(/^CHECKPOINT_(QUANTIZED_TENSOR|UNSUPPORTED_TENSOR_TYPE)$/)
    expect(error.message).toMatch(message)
  })

  it('refuses a configuration that asks for something else', async () => {
    const error = await caught(openCheckpoint(await folder(SOUND, { dequantize: true })))
    expect(error.code).toBe('CHECKPOINT_QUANTIZATION_UNSUPPORTED')
    expect(error.message).toContain('quantization_config.dequantize is "true"')
  })
})
