/**
 * The ways in which a layer's two halves, its norms and the residual stream go together.
 *
 *   preNorm     x + attention(norm(x)), then x + mlp(norm(x))
 */

import type { ModelConfig } from '../model-config.ts'
import type { Block, PartTensors, Wiring } from './block.ts'
import type { DecoderLayer } from './layer.ts'
import type { ResidualStream } from './residual-stream.ts'
import type { Part } from './tensor-names.ts'

export function preNorm(attention: Block, mlp: Block): Wiring {
  return {
    parts: (layer) => [
      normOf(layer.config, 'attn_norm'),
      ...attention.parts(layer),
      normOf(layer.config, 'ffn_norm'),
      ...mlp.parts(layer),
    ],
    build(layer, stream) {
      stream.add(attention.build(layer, normed(layer, stream, 'attn_norm')))
      stream.add(mlp.build(layer, normed(layer, stream, 'ffn_norm')))
    },
  }
}

function normOf({ hiddenSize, biases }: ModelConfig, part: Part): PartTensors {
  return { part, shape: [hiddenSize], bias: biases.norm }
}

function normed(layer: DecoderLayer, stream: ResidualStream, part: Part) {
  return stream.normed(layer.weight(part), layer.bias(part))
}
