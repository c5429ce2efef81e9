/**
 * What one token costs at the least: bytes of weights that must be read, and multiply-adds of the linear layers, from the
 * tensor index alone. Attention, norms and the KV cache are left out, so shares of a limit are a little too low.
 *
 * Assumes every matrix but the embedding table is used for every token, which experts are not: `null` for those.
 */

import type { TensorInfo } from '../src/checkpoint/checkpoint.ts'

export interface WorkPerToken {
  /** Of layers and head, as stored. */
  readonly weightBytes: number
  /** Of a decoded token: layers and head. */
  readonly decodeMacs: number
  /** Of a prompt token: layers; the head sees one row a prompt. */
  readonly prefillMacs: number
}

const EMBEDDINGS = new Set(['token_embd.weight', 'model.embed_tokens.weight'])
const HEADS = new Set(['output.weight', 'lm_head.weight'])

export function workPerToken(tensors: Iterable<TensorInfo>): WorkPerToken | null {
  let layerMacs = 0
  let layerBytes = 0
  let embedding: TensorInfo | null = null
  let head: TensorInfo | null = null
  for (const tensor of tensors) {
    if (tensor.shape.length > 2 || tensor.name.includes('experts')) return null
    if (HEADS.has(tensor.name)) head = tensor
    else if (EMBEDDINGS.has(tensor.name)) embedding = tensor
    else if (tensor.shape.length === 2) {
      layerMacs += numWeights(tensor)
      layerBytes += tensor.byteLength
    }
  }
  // Tied weights: the table is the head as well.
  head ??= embedding
  if (head === null) return null
  return {
    weightBytes: layerBytes + head.byteLength,
    decodeMacs: layerMacs + numWeights(head),
    prefillMacs: layerMacs,
  }
}

function numWeights({ shape }: TensorInfo): number {
  return shape.reduce((product, extent) => product * extent, 1)
}
