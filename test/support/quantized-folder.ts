/** A tiny llama whose matrices are quantized, and the same model with every weight written out as F32. */

import type { QuantizedMatrix, WriteMatrix } from './quantized-matrices.ts'
import { floats } from './quantized-matrices.ts'
import { encodeSafetensors, type TensorSpec } from './safetensors-writer.ts'
import { seededRandom } from './seeded-random.ts'
import { TINY_CONFIG } from './tiny-llama-folder.ts'

export const QUANTIZED_CONFIG = {
  ...TINY_CONFIG,
  hidden_size: 64,
  intermediate_size: 96,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 16,
}

/** Module, outputs, inputs. */
const MODULES: readonly (readonly [name: string, outputs: number, inputs: number])[] = [
  ['self_attn.q_proj', 64, 64],
  ['self_attn.k_proj', 32, 64],
  ['self_attn.v_proj', 32, 64],
  ['self_attn.o_proj', 64, 64],
  ['mlp.gate_proj', 96, 64],
  ['mlp.up_proj', 96, 64],
  ['mlp.down_proj', 64, 96],
]

type Files = Readonly<Record<string, Buffer | object>>

export interface QuantizedFolder {
  readonly quantized: Files
  readonly dense: Files
  /** Of the quantized one. */
  readonly tensors: Readonly<Record<string, TensorSpec>>
}

/**
 * @param config - `quantization_config`
 * @param write - one matrix; another one for some modules where it is a function of their names
 * @param isLeftDense - modules that stay as they are
 */
export function quantizedFolder(
  config: object,
  write: WriteMatrix,
  isLeftDense: (module: string) => boolean = () => false,
): QuantizedFolder {
  const random = seededRandom(3)
  const value = () => 0.6 * (random.next() - 0.5)
  const dense: Record<string, TensorSpec> = {}
  const quantized: Record<string, TensorSpec> = {}
  const both = (name: string, shape: readonly number[], of: () => number) => {
    const length = shape.reduce((product, extent) => product * extent, 1)
    dense[name] = { shape, data: floats(Array.from({ length }, of)) }
    quantized[name] = dense[name]
  }
  both('model.embed_tokens.weight', [96, 64], value)
  both('model.norm.weight', [64], () => 1)
  both('lm_head.weight', [96, 64], value)
  for (let layer = 0; layer < 2; layer++) {
    both(`model.layers.${layer}.input_layernorm.weight`, [64], () => 1)
    both(`model.layers.${layer}.post_attention_layernorm.weight`, [64], () => 1)
    for (const [at, [name, outputs, inputs]] of MODULES.entries()) {
      const module = `model.layers.${layer}.${name}`
      if (isLeftDense(module)) {
        both(`${module}.weight`, [outputs, inputs], value)
        continue
      }
      const matrix: QuantizedMatrix = write(outputs, inputs, 100 * layer + at + 1)
      for (const [part, spec] of Object.entries(matrix.tensors)) {
        quantized[`${module}.${part}`] = spec
      }
      dense[`${module}.weight`] = { shape: [outputs, inputs], data: floats(matrix.values) }
    }
  }
  return {
    tensors: quantized,
    quantized: {
      'config.json': { ...QUANTIZED_CONFIG, quantization_config: config },
      'model.safetensors': encodeSafetensors(quantized),
    },
    dense: {
      'config.json': QUANTIZED_CONFIG,
      'model.safetensors': encodeSafetensors(dense),
    },
  }
}
