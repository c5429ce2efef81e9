/**
 * From a checkpoint's stored tensors to the ones that models know: a quantized weight, stored as several tensors, becomes
 * one named `M.weight` of shape [outputs, inputs]; the dense ones stay as they are.
 *
 * Q1 Every stored tensor becomes a tensor, or is part of exactly one, or is refused by name.
 */

import { tensorBytes } from '../../base/tensor-format.ts'
import type { TensorInfo } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import { DENSE_DTYPES } from '../safetensors/dtypes.ts'
import { Companions, quantizedTensorError } from './companions.ts'
import { plainFloat8 } from './float8.ts'
import {
  moduleOf,
  type QuantizedWeight,
  type ReadBytes,
  type Scheme,
  type SplitBlocks,
} from './scheme.ts'
import type { StoredQuantization, StoredTensor } from './stored-quantization.ts'

/** Of a million outputs. */
const MAX_BIAS_BYTES = 4 * 2 ** 20

/**
 * @param scheme - `null` when the configuration says nothing of a quantization
 * @returns in the order of the stored tensors
 * @throws ServingError CHECKPOINT_QUANTIZED_TENSOR, CHECKPOINT_UNSUPPORTED_TENSOR_TYPE and the scheme's own
 *
 * Cost: reads what a scheme keeps in small tensors (shapes, JSON), never weights.
 */
export async function logicalTensors(
  stored: ReadonlyMap<string, StoredTensor>,
  scheme: Scheme | null,
  read: ReadBytes,
): Promise<Map<string, TensorInfo>> {
  const companions = new Companions(stored)
  const made = new Map<string, TensorInfo>()
  for (const tensor of stored.values()) {
    const weight = await scheme?.weightOf(tensor, companions, read)
    if (weight) made.set(tensor.name, 'blocks' in weight ? blocksInfo(weight) : weightInfo(weight))
  }
  const tensors = new Map<string, TensorInfo>()
  for (const tensor of stored.values()) {
    const info = made.get(tensor.name)
    if (info === undefined && companions.isTaken(tensor.name)) continue
    const plain = info ?? plainInfo(tensor, scheme)
    const isZero = info === undefined && (await isZeroBias(tensor, stored, read))
    const own = isZero ? { ...plain, isZeroBias: true as const } : plain
    const other = tensors.get(own.name)
    if (other !== undefined) {
      throw quantizedTensorError(own.file, own.name, 'one tensor of this name', 'two')
    }
    tensors.set(own.name, own)
  }
  return tensors
}

/** AutoGPTQ wrote a bias of zeros for every module, also of models that have none; adding it changes nothing. */
async function isZeroBias(
  { name, shape, byteLength, ...place }: StoredTensor,
  stored: ReadonlyMap<string, StoredTensor>,
  read: ReadBytes,
): Promise<boolean> {
  const module = moduleOf(name, '.bias')
  const isBias = module !== null && shape.length === 1 && byteLength <= MAX_BIAS_BYTES
  if (!isBias || !stored.has(`${module}.qweight`)) return false
  const bytes = await read({ name, shape, byteLength, ...place }, MAX_BIAS_BYTES)
  return bytes.every((byte) => byte === 0)
}

function weightInfo({ name, format, shape, quantization }: QuantizedWeight): TensorInfo {
  const { file, offset } = quantization.codes.tensor
  const parts = tensorsOf(quantization)
  const byteLength = parts.reduce((sum, part) => sum + part.byteLength, 0)
  return { name, format, shape, file, offset, byteLength, quantization }
}

function blocksInfo({ name, shape, blocks, exponents }: SplitBlocks): TensorInfo {
  const { file, offset } = blocks
  const byteLength = blocks.byteLength + exponents.byteLength
  return { name, format: 'MXFP4', shape, file, offset, byteLength, exponents }
}

/** All that the native addon reads. */
export function tensorsOf(quantization: StoredQuantization): readonly StoredTensor[] {
  const { codes, zeros, table, scales, groupOfInput } = quantization
  const { tensor, nested } = scales
  const all = [codes.tensor, zeros?.tensor, table, tensor, nested?.table, nested?.scales]
  return [...all, groupOfInput].filter((part) => part !== null && part !== undefined)
}

function plainInfo(tensor: StoredTensor, scheme: Scheme | null): TensorInfo {
  const { name, dtype, shape, file, offset, byteLength } = tensor
  const format = DENSE_DTYPES.get(dtype)
  if (format !== undefined && tensorBytes(format, shape) === byteLength) {
    return { name, format, shape, file, offset, byteLength }
  }
  const [outputs = 0, inputs = 0] = shape
  if (dtype === 'F8_E4M3' && shape.length === 2 && outputs * inputs > 0 && scheme === null) {
    const quantization = plainFloat8(tensor, inputs)
    return weightInfo({ name, format: 'F8_E4M3', shape: [outputs, inputs], quantization })
  }
  const described =
    scheme === null ? 'a configuration without quantization_config' : scheme.description
  throw errorAt('CHECKPOINT_UNSUPPORTED_TENSOR_TYPE', {
    file,
    offset,
    field: `tensor ${quote(name)}`,
    expected: `one of ${[...DENSE_DTYPES.keys()].join(', ')}, or a part of a quantized weight`,
    got: `${dtype} that belongs to none in ${described}`,
    next: 'fetch all files of one checkpoint, or use the model in another format',
  })
}
