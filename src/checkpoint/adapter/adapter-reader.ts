/**
 * Opens a LoRA adapter as PEFT saves it: which matrices it has for which modules, their ranks and scales.
 *
 *   folder  adapter_config.json   adapter_model.safetensors
 *   tensor  base_model.model.MODULE.lora_A.weight [rank, in]   …lora_B.weight [out, rank]
 *
 * Knows modules by name only; whether a model has them is for others to say.
 * A1 Each module has both matrices, and their rank is the configuration's.
 */

import { join } from 'node:path'
import { checkpointError } from '../errors.ts'
import { quote } from '../gguf/metadata.ts'
import type { StoredTensor } from '../quantized/stored-quantization.ts'
import { DENSE_DTYPES } from '../safetensors/dtypes.ts'
import { readSafetensors } from '../safetensors/header.ts'
import { exists } from '../safetensors/read-file.ts'
import { type AdapterConfig, readAdapterConfig } from './adapter-config.ts'

export const ADAPTER_CONFIG = 'adapter_config.json'
export const ADAPTER_WEIGHTS = 'adapter_model.safetensors'
/** Saved by PEFT before it had safetensors: a pickle, which is a program. */
const PICKLED = 'adapter_model.bin'

/** A dense matrix of the weights' file. */
export interface AdapterTensor {
  readonly name: string
  readonly format: 'F32' | 'F16' | 'BF16'
  readonly shape: readonly [rows: number, width: number]
  readonly offset: number
  readonly byteLength: number
}

export interface AdapterModule {
  /** As PEFT names it within the base, such as `model.layers.0.self_attn.q_proj`. */
  readonly name: string
  readonly rank: number
  readonly scale: number
  readonly down: AdapterTensor // A, [rank, in]
  readonly up: AdapterTensor // B, [out, rank]
}

export interface AdapterCheckpoint {
  readonly folder: string
  /** sha256 of the configuration that was read, hex. */
  readonly configDigest: string
  /** File of all tensors. */
  readonly file: string
  /** In the order of the file's bytes, of the first matrix of each. */
  readonly modules: readonly AdapterModule[]
}

const TENSOR = /^(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight$/

/** @throws ServingError CHECKPOINT_ADAPTER_*, those of safetensors' headers, and what the file system can do */
export async function readAdapter(folder: string): Promise<AdapterCheckpoint> {
  const file = join(folder, ADAPTER_WEIGHTS)
  if (!(await exists(file)) && (await exists(join(folder, PICKLED)))) {
    throw checkpointError('CHECKPOINT_UNSUPPORTED_KIND', {
      details: {
        file: join(folder, PICKLED),
        expected: ADAPTER_WEIGHTS,
        got: 'a pickle, which could run any program',
        next: 'save the adapter with safe_serialization=True',
      },
    })
  }
  const config = await readAdapterConfig(join(folder, ADAPTER_CONFIG))
  const tensors = await readSafetensors(file)
  const pairs = new Map<string, { down?: AdapterTensor; up?: AdapterTensor }>()
  for (const tensor of tensors.values()) {
    const [, module, side] = TENSOR.exec(tensor.name) ?? []
    if (module === undefined) throw unknownTensor(file, tensor.name)
    const pair = pairs.get(module) ?? {}
    pairs.set(module, pair)
    const end = side === 'A' ? 'down' : 'up'
    // `lora_A.weight` and `lora_A.default.weight` are the same matrix.
    if (pair[end] !== undefined) throw badTensor(file, tensor.name, 'there once', 'it twice')
    pair[end] = denseMatrix(file, tensor)
  }
  if (pairs.size === 0) throw badTensor(file, '…lora_A.weight', 'there', 'a file without tensors')
  const modules = [...pairs].map(([name, { down, up }]) => moduleOf(config, file, name, down, up))
  return { folder, configDigest: config.digest, file, modules }
}

function moduleOf(
  config: AdapterConfig,
  file: string,
  name: string,
  down: AdapterTensor | undefined,
  up: AdapterTensor | undefined,
): AdapterModule {
  if (down === undefined || up === undefined) {
    const missing = `${name}.lora_${down === undefined ? 'A' : 'B'}.weight`
    throw badTensor(file, missing, 'there beside its other half', 'nothing')
  }
  const rank = config.rankOf(name)
  for (const [tensor, got] of [
    [down, down.shape[0]],
    [up, up.shape[1]],
  ] as const) {
    if (got === rank) continue
    throw badTensor(file, tensor.name, `of rank ${rank}, as ${ADAPTER_CONFIG} says`, `rank ${got}`)
  }
  return { name, rank, scale: config.scaleOf(name), down, up }
}

function denseMatrix(file: string, tensor: StoredTensor): AdapterTensor {
  const { name, dtype, shape, offset, byteLength } = tensor
  const format = DENSE_DTYPES.get(dtype)
  const [rows = 0, width = 0] = shape
  const isMatrix = shape.length === 2 && rows > 0 && width > 0
  if (isMatrix && (format === 'F32' || format === 'F16' || format === 'BF16')) {
    return { name, format, shape: [rows, width], offset, byteLength }
  }
  const got = `${dtype} of shape [${shape.join(', ')}]`
  throw badTensor(file, name, 'a matrix of F32, F16 or BF16', got)
}

/** What no plain LoRA has: `lora_magnitude_vector` of DoRA, biases, whole modules, embeddings. */
function unknownTensor(file: string, name: string): Error {
  return checkpointError('CHECKPOINT_ADAPTER_UNSUPPORTED', {
    details: {
      file,
      key: `tensor ${quote(name)}`,
      got: 'in the file',
      expected: '….lora_A.weight and ….lora_B.weight',
      next: 'merge the adapter into its base and serve that, or train it without',
    },
  })
}

function badTensor(file: string, name: string, expected: string, got: string): Error {
  return checkpointError('CHECKPOINT_ADAPTER_TENSOR', {
    details: { file, tensor: quote(name), expected, got },
  })
}
