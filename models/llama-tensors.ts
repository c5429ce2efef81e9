/**
 * The tensors of architecture `llama` under the names of each kind of checkpoint, with their shapes.
 *
 * Owns the one table that says which name means which part. Reads no bytes.
 */

import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from './model-config.ts'
import type { ExpectedTensor } from './tensor-check.ts'

/** Parts of a layer, by GGUF's words for them. */
export type LlamaPart =
  | 'attn_norm'
  | 'attn_q'
  | 'attn_k'
  | 'attn_v'
  | 'attn_output'
  | 'ffn_norm'
  | 'ffn_gate'
  | 'ffn_up'
  | 'ffn_down'

export interface LlamaNames {
  readonly embedding: string
  readonly norm: string
  readonly head: string
  /** Of layer `n`: this, `.n.`, the part, `.weight` or `.bias`. */
  readonly layers: string
  readonly parts: Readonly<Record<LlamaPart, string>>
}

export const LLAMA_NAMES: Readonly<Record<Checkpoint['kind'], LlamaNames>> = {
  gguf: {
    embedding: 'token_embd.weight',
    norm: 'output_norm.weight',
    head: 'output.weight',
    layers: 'blk',
    parts: {
      attn_norm: 'attn_norm',
      attn_q: 'attn_q',
      attn_k: 'attn_k',
      attn_v: 'attn_v',
      attn_output: 'attn_output',
      ffn_norm: 'ffn_norm',
      ffn_gate: 'ffn_gate',
      ffn_up: 'ffn_up',
      ffn_down: 'ffn_down',
    },
  },
  safetensors: {
    embedding: 'model.embed_tokens.weight',
    norm: 'model.norm.weight',
    head: 'lm_head.weight',
    layers: 'model.layers',
    parts: {
      attn_norm: 'input_layernorm',
      attn_q: 'self_attn.q_proj',
      attn_k: 'self_attn.k_proj',
      attn_v: 'self_attn.v_proj',
      attn_output: 'self_attn.o_proj',
      ffn_norm: 'post_attention_layernorm',
      ffn_gate: 'mlp.gate_proj',
      ffn_up: 'mlp.up_proj',
      ffn_down: 'mlp.down_proj',
    },
  },
}

/** GGUF's factors of the rotary frequencies. */
export const ROPE_FACTORS_TENSOR = 'rope_freqs.weight'
/** A buffer that older versions of transformers stored; the configuration says the same. */
const ROPE_BUFFER = 'self_attn.rotary_emb.inv_freq'
const DENSE: readonly TensorInfo['format'][] = ['F32', 'F16', 'BF16']

/** Everything that may be in a checkpoint of this kind. */
export function expectedLlamaTensors(
  kind: Checkpoint['kind'],
  config: ModelConfig,
): readonly ExpectedTensor[] {
  const { hiddenSize, vocabSize, tieWordEmbeddings } = config
  const { embedding, norm, head } = LLAMA_NAMES[kind]
  const numPairs = config.rotaryDim / 2
  const tensors: ExpectedTensor[] = [
    { name: embedding, shape: [vocabSize, hiddenSize] },
    { name: norm, shape: [hiddenSize], formats: DENSE },
    { name: head, shape: [vocabSize, hiddenSize], isOptional: tieWordEmbeddings },
  ]
  if (kind === 'gguf') {
    const formats = ['F32'] as const
    tensors.push({ name: ROPE_FACTORS_TENSOR, shape: [numPairs], isOptional: true, formats })
  }
  for (let layer = 0; layer < config.numLayers; layer++) {
    tensors.push(...layerTensors(kind, config, layer))
    if (kind !== 'safetensors') continue
    const name = `${LLAMA_NAMES[kind].layers}.${layer}.${ROPE_BUFFER}`
    tensors.push({ name, shape: [numPairs], isOptional: true, formats: DENSE })
  }
  return tensors
}

function layerTensors(
  kind: Checkpoint['kind'],
  config: ModelConfig,
  layer: number,
): ExpectedTensor[] {
  const { hiddenSize, intermediateSize, headDim, hasAttentionBias, hasMlpBias } = config
  const queryWidth = config.numHeads * headDim
  const kvWidth = config.numKvHeads * headDim
  const { layers, parts } = LLAMA_NAMES[kind]
  const name = (part: LlamaPart, what: string) => `${layers}.${layer}.${parts[part]}.${what}`
  const norm = (part: LlamaPart): ExpectedTensor => {
    return { name: name(part, 'weight'), shape: [hiddenSize], formats: DENSE }
  }
  /** A matrix, and its bias: must be, must not be, or may be there. */
  const linear = (part: LlamaPart, rows: number, width: number, hasBias: boolean | undefined) => {
    const tensors: ExpectedTensor[] = [{ name: name(part, 'weight'), shape: [rows, width] }]
    if (hasBias === false) return tensors
    const isOptional = hasBias === undefined
    tensors.push({ name: name(part, 'bias'), shape: [rows], isOptional, formats: DENSE })
    return tensors
  }
  return [
    norm('attn_norm'),
    ...linear('attn_q', queryWidth, hiddenSize, hasAttentionBias),
    ...linear('attn_k', kvWidth, hiddenSize, hasAttentionBias),
    ...linear('attn_v', kvWidth, hiddenSize, hasAttentionBias),
    ...linear('attn_output', hiddenSize, queryWidth, hasAttentionBias),
    norm('ffn_norm'),
    ...linear('ffn_gate', intermediateSize, hiddenSize, hasMlpBias),
    ...linear('ffn_up', intermediateSize, hiddenSize, hasMlpBias),
    ...linear('ffn_down', hiddenSize, intermediateSize, hasMlpBias),
  ]
}
