/**
 * The ways in which a layer's two halves, its norms and the residual stream go together.
 *
 *   preNorm     x + attention(norm(x)), then x + mlp(norm(x))
 *   postNorm    x + norm(attention(x)), then x + norm(mlp(x))
 *   sandwich    x + norm(attention(norm(x))), then x + norm(mlp(norm(x)))
 *   parallel    x + attention(norm(x)) + mlp(norm(x)), with one norm
 */

import type { GraphValue } from '../../src/graph/graph.ts'
import type { ModelConfig } from '../model-config.ts'
import type { Block, PartTensors, Wiring } from './block.ts'
import type { DecoderLayer } from './layer.ts'
import { norm } from './norm.ts'
import type { ResidualStream } from './residual-stream.ts'
import type { Part } from './tensor-names.ts'

export function preNorm(attention: Block, mlp: Block): Wiring {
  return {
    parts: (layer) => [
      ...normsOf(layer.config, ['attn_norm', 'ffn_norm']),
      ...attention.parts(layer),
      ...mlp.parts(layer),
    ],
    build(layer, stream) {
      stream.add(attended(layer, attention, stream, before(layer, stream, 'attn_norm')))
      stream.add(mlp.build(layer, before(layer, stream, 'ffn_norm')))
    },
  }
}

export function postNorm(attention: Block, mlp: Block): Wiring {
  return {
    parts: (layer) => [
      ...normsOf(layer.config, ['post_attention_norm', 'post_ffw_norm']),
      ...attention.parts(layer),
      ...mlp.parts(layer),
    ],
    build(layer, stream) {
      const part = attended(layer, attention, stream, stream.sum())
      stream.add(after(layer, part, 'post_attention_norm'))
      stream.add(after(layer, mlp.build(layer, stream.sum()), 'post_ffw_norm'))
    },
  }
}

export function sandwich(attention: Block, mlp: Block): Wiring {
  return {
    parts: (layer) => [
      ...normsOf(layer.config, ['attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm']),
      ...attention.parts(layer),
      ...mlp.parts(layer),
    ],
    build(layer, stream) {
      const part = attended(layer, attention, stream, before(layer, stream, 'attn_norm'))
      stream.add(after(layer, part, 'post_attention_norm'))
      const fed = mlp.build(layer, before(layer, stream, 'ffn_norm'))
      stream.add(after(layer, fed, 'post_ffw_norm'))
    },
  }
}

export function parallel(attention: Block, mlp: Block): Wiring {
  return {
    parts: (layer) => [
      ...normsOf(layer.config, ['attn_norm']),
      ...attention.parts(layer),
      ...mlp.parts(layer),
    ],
    build(layer, stream) {
      const normed = before(layer, stream, 'attn_norm')
      stream.add(attended(layer, attention, stream, normed))
      stream.add(mlp.build(layer, layer.isLast ? layer.builder.gatherRows(normed) : normed))
    },
  }
}

/** What attention adds; behind that of the last layer the stream is that of the wanted rows. */
function attended(
  layer: DecoderLayer,
  attention: Block,
  stream: ResidualStream,
  x: GraphValue,
): GraphValue {
  const part = attention.build(layer, x)
  if (layer.isLast) stream.gather()
  return part
}

function normsOf({ hiddenSize, biases }: ModelConfig, parts: readonly Part[]): PartTensors[] {
  return parts.map((part) => ({ part, shape: [hiddenSize], bias: biases.norm }))
}

function before(layer: DecoderLayer, stream: ResidualStream, part: Part): GraphValue {
  return stream.normed(layer.weight(part), layer.bias(part))
}

function after(layer: DecoderLayer, x: GraphValue, part: Part): GraphValue {
  const tensors = { weight: layer.weight(part), bias: layer.bias(part) }
  return norm(layer.builder, layer.model.norm, x, tensors)
}
