/**
 * Grouped query attention with its projections, as nearly all decoders have it: q, k and v from one node, whether they
 * are stored apart or joined; rotated or not; with a window, a soft cap or norms of q and k where the configuration
 * says so.
 *
 * Source: arXiv:2305.13245 (grouped queries).
 */

import type { GraphValue } from '../../src/graph/graph.ts'
import type { Block, LayerShape, LayerTensor, NamedTensor, PartTensors } from './block.ts'
import { DENSE } from './expected-tensors.ts'
import type { DecoderLayer } from './layer.ts'

export const attention: Block = { parts, build }

function parts({ config, names }: LayerShape): readonly LayerTensor[] {
  const { hiddenSize, numHeads, numKvHeads, headDim, biases } = config
  const queryWidth = numHeads * headDim
  const kvWidth = numKvHeads * headDim
  const { qkv: bias } = biases
  const qkv: PartTensors[] = names.has('attn_qkv')
    ? [{ part: 'attn_qkv', shape: [queryWidth + 2 * kvWidth, hiddenSize], bias }]
    : [
        { part: 'attn_q', shape: [queryWidth, hiddenSize], bias },
        { part: 'attn_k', shape: [kvWidth, hiddenSize], bias },
        { part: 'attn_v', shape: [kvWidth, hiddenSize], bias },
      ]
  const sinks: NamedTensor[] =
    names.sinks === null ? [] : [{ name: names.sinks, shape: [numHeads], formats: DENSE }]
  const output = { part: 'attn_output', shape: [hiddenSize, queryWidth] } as const
  return [...qkv, ...qkNorms(config), ...sinks, { ...output, bias: biases.attentionOutput }]
}

function qkNorms({ qkNorm, numHeads, numKvHeads, headDim }: LayerShape['config']): PartTensors[] {
  if (qkNorm === null) return []
  const width = (heads: number) => (qkNorm === 'head' ? headDim : heads * headDim)
  return [
    { part: 'attn_q_norm', shape: [width(numHeads)], bias: false },
    { part: 'attn_k_norm', shape: [width(numKvHeads)], bias: false },
  ]
}

function build(layer: DecoderLayer, x: GraphValue): GraphValue {
  const { builder, model, config, rope, names } = layer
  const { numHeads, numKvHeads, headDim, attentionSoftcap: softcap } = model
  const stored = names.has('attn_qkv')
    ? (['attn_qkv'] as const)
    : (['attn_q', 'attn_k', 'attn_v'] as const)
  const qkv = normedQk(layer, layer.linear(x, stored))
  const attended = builder.pagedAttention(qkv, {
    numHeads,
    numKvHeads,
    headDim,
    scale: config.attentionScale ?? model.attentionScale,
    rope,
    window: config.window,
    softcap,
    sinks: names.sinks === null ? null : layer.tensor(names.sinks),
    isForWantedRows: layer.isLast,
  })
  return layer.linear(attended, ['attn_output'])
}

function normedQk(layer: DecoderLayer, qkv: GraphValue): GraphValue {
  const { numHeads, numKvHeads, headDim, norm, qkNorm } = layer.model
  if (qkNorm === null) return qkv
  return layer.builder.qkNorm(qkv, {
    numHeads,
    numKvHeads,
    headDim,
    query: layer.weight('attn_q_norm'),
    key: layer.weight('attn_k_norm'),
    epsilon: norm.epsilon,
    weightOffset: norm.weightOffset,
    scope: qkNorm,
  })
}
