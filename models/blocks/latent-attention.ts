/**
 * Latent attention: all heads' keys and values are made from one short vector a token, so only that vector and one
 * rotated key are kept. The matrices that would make keys and values are absorbed into the query's and the output's
 * side, which makes it grouped query attention with one wide key that is also the value:
 *
 *   score(head) = (Wk(head)ᵀ q_nope) · c + q_rope · k_rope      out(head) = Wv(head) Σ p c
 *
 * Source: DeepSeek-V2, arXiv:2405.04434, section 2.1.
 */

import { invariant } from '../../src/base/errors.ts'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { LatentConfig } from '../model-config.ts'
import type { Block, LayerShape, LayerTensor } from './block.ts'
import type { DecoderLayer } from './layer.ts'
import { memberOf, rowsOf } from './tensor-slices.ts'

export const latentAttention: Block = { parts, build }

function latentOf({ latent }: { readonly latent?: LatentConfig }): LatentConfig {
  invariant(latent !== undefined, 'L6', 'an architecture with latent attention configures it')
  return latent
}

function parts({ config, names }: LayerShape): readonly LayerTensor[] {
  const { hiddenSize, numHeads, biases } = config
  const { queryRank, kvRank, nopeDim, ropeDim, valueDim } = latentOf(config)
  const { qkv: bias } = biases
  const queryWidth = numHeads * (nopeDim + ropeDim)
  const query: LayerTensor[] =
    queryRank === null
      ? [{ part: 'attn_q', shape: [queryWidth, hiddenSize], bias: false }]
      : [
          { part: 'attn_q_a', shape: [queryRank, hiddenSize], bias },
          { part: 'attn_q_a_norm', shape: [queryRank], bias: false },
          { part: 'attn_q_b', shape: [queryWidth, queryRank], bias: false },
        ]
  const stored = names.latent
  const pair = 'joined' in stored ? stored.others : stored
  const isOptional = 'joined' in stored
  const made: LayerTensor[] = []
  if ('joined' in stored) {
    made.push({ name: stored.joined, shape: [numHeads * (nopeDim + valueDim), kvRank] })
  }
  if (pair !== null) {
    made.push({ name: pair.key, shape: [numHeads, kvRank, nopeDim], isOptional })
    made.push({ name: pair.value, shape: [numHeads, valueDim, kvRank], isOptional })
  }
  return [
    ...query,
    { part: 'attn_kv_a_mqa', shape: [kvRank + ropeDim, hiddenSize], bias },
    { part: 'attn_kv_a_norm', shape: [kvRank], bias: false },
    ...made,
    {
      part: 'attn_output',
      shape: [hiddenSize, numHeads * valueDim],
      bias: biases.attentionOutput,
    },
  ]
}

function build(layer: DecoderLayer, x: GraphValue): GraphValue {
  const { builder, model, rope } = layer
  const { numHeads, attentionScale: scale } = model
  const { kvRank, nopeDim, ropeDim, epsilon } = latentOf(model)
  const heads = perHead(layer)

  const query = queries(layer, x)
  const flat = builder.sliceHeads(query, { numHeads, offset: 0, width: nopeDim })
  const turned = builder.sliceHeads(query, { numHeads, offset: nopeDim, width: ropeDim })
  const absorbed = builder.headLinear(flat, heads.keys, { layout: heads.keyLayout })

  const squeezed = layer.linear(x, ['attn_kv_a_mqa'])
  const raw = builder.sliceHeads(squeezed, { numHeads: 1, offset: 0, width: kvRank })
  const latent = builder.rmsNorm(raw, layer.weight('attn_kv_a_norm'), { epsilon })
  const rotated = builder.sliceHeads(squeezed, { numHeads: 1, offset: kvRank, width: ropeDim })

  const wide = builder.concatHeads([absorbed, turned], numHeads)
  const attended = builder.pagedAttention(builder.concatHeads([wide, latent, rotated, latent], 1), {
    numHeads,
    numKvHeads: 1,
    headDim: kvRank + ropeDim,
    valueDim: kvRank,
    scale,
    rope: rope === null ? null : { ...rope, offset: kvRank },
    isForWantedRows: layer.isLast,
  })
  return layer.linear(builder.headLinear(attended, heads.values), ['attn_output'])
}

/** [T, numHeads · (nopeDim + ropeDim)] */
function queries(layer: DecoderLayer, x: GraphValue): GraphValue {
  const { queryRank, epsilon } = latentOf(layer.model)
  if (queryRank === null) return layer.linear(x, ['attn_q'])
  const squeezed = layer.linear(x, ['attn_q_a'])
  const normed = layer.builder.rmsNorm(squeezed, layer.weight('attn_q_a_norm'), { epsilon })
  return layer.linear(normed, ['attn_q_b'])
}

interface HeadMatrices {
  /** [kvRank, nopeDim] in `keyLayout`. */
  readonly keys: readonly TensorInfo[]
  readonly keyLayout: 'rows' | 'columns'
  /** [valueDim, kvRank] */
  readonly values: readonly TensorInfo[]
}

/** Stored apart for each head, keys turned over already; or in one matrix, each head's key rows before its value rows. */
function perHead(layer: DecoderLayer): HeadMatrices {
  const { numHeads } = layer.model
  const { nopeDim, valueDim } = latentOf(layer.model)
  const stored = layer.names.latent
  const heads = Array.from({ length: numHeads }, (_, head) => head)
  if (!('joined' in stored)) {
    const [keys, values] = [layer.tensor(stored.key), layer.tensor(stored.value)]
    return {
      keys: heads.map((head) => memberOf(keys, head)),
      keyLayout: 'rows',
      values: heads.map((head) => memberOf(values, head)),
    }
  }
  const both = layer.tensor(stored.joined)
  const rows = (head: number, what: string, skipped: number, count: number) =>
    rowsOf(both, {
      name: `${both.name}[${head}].${what}`,
      first: head * (nopeDim + valueDim) + skipped,
      count,
    })
  return {
    keys: heads.map((head) => rows(head, 'key', 0, nopeDim)),
    keyLayout: 'columns',
    values: heads.map((head) => rows(head, 'value', nopeDim, valueDim)),
  }
}
