/** Inverse frequencies that older versions of transformers stored in each layer; the configuration says the same. */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from '../model-config.ts'
import type { ExpectedTensor } from '../tensor-check.ts'
import { DENSE } from './expected-tensors.ts'

export function ropeBuffers(
  { kind }: Checkpoint,
  { numLayers, ropes: [rope] }: ModelConfig,
): readonly ExpectedTensor[] {
  if (kind !== 'safetensors' || rope === undefined) return []
  return Array.from({ length: numLayers }, (_, layer) => ({
    name: `model.layers.${layer}.self_attn.rotary_emb.inv_freq`,
    shape: [rope.rotaryDim / 2],
    isOptional: true,
    formats: DENSE,
  }))
}
