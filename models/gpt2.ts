/**
 * Architecture `gpt2`: learned positions instead of rotated ones, norms of mean and variance, an MLP without gates, and
 * in Hugging Face's files matrices that are stored by columns (`Conv1D`).
 *
 * Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; transformers, `GPT2Config`;
 * llama.cpp `gpt2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { attention } from './blocks/attention.ts'
import { defineDecoder } from './blocks/decoder.ts'
import { plainMlp } from './blocks/mlp.ts'
import { type NameTables, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import { type LayerConfig, type ModelConfig, PLAIN } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { readActivation } from './reading/activation.ts'
import { CONTEXT, COUNT, SIZE, VOCABULARY } from './reading/bounds.ts'
import { ConfigKeys } from './reading/config-keys.ts'
import { jsonEosTokenIds } from './reading/eos-token-ids.ts'
import { finishGguf, readGgufDecoder } from './reading/gguf-decoder.ts'
import { finishJson } from './reading/json-decoder.ts'
import { jsonLayerNorm } from './reading/norms.ts'
import type { ExpectedTensor } from './tensor-check.ts'

const BIASES = { qkv: true, attentionOutput: true, mlp: true, norm: true }

const JOINED = { attn_q: null, attn_k: null, attn_v: null, ffn_gate: null }
const GGUF_NAMES = namesWith({ gguf: { ...JOINED, attn_qkv: 'attn_qkv' }, safetensors: {} }).gguf

const NAMES: NameTables = {
  gguf: { ...GGUF_NAMES, positions: 'position_embd.weight' },
  safetensors: {
    prefix: 'transformer.',
    embedding: 'wte.weight',
    positions: 'wpe.weight',
    norm: 'ln_f',
    head: 'lm_head.weight',
    layers: 'h',
    parts: {
      attn_norm: 'ln_1',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_norm: 'ln_2',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    },
    layout: 'columns',
  },
}

export const gpt2: ModelDefinition = defineDecoder({
  modelType: 'gpt2',
  readers: {
    gguf: { architecture: 'gpt2', read: readGguf },
    safetensors: { architecture: 'gpt2', read: readJson },
  },
  names: NAMES,
  layer: preNorm(attention, plainMlp),
  unread: masks,
})

function readJson(checkpoint: Checkpoint): ModelConfig {
  const keys = ConfigKeys.ofJson(checkpoint, 'gpt2')
  keys.includes('architectures', 'GPT2LMHeadModel')
  const hiddenSize = keys.integer('n_embd', SIZE, 768)
  const numHeads = keys.integer('n_head', COUNT, 12)
  const numLayers = keys.integer('n_layer', COUNT, 12)
  const headDim = hiddenSize / numHeads
  if (!Number.isInteger(headDim)) {
    throw keys.unsupported('n_head', numHeads, `a divisor of ${hiddenSize}`)
  }
  const vocabSize = keys.integer('vocab_size', VOCABULARY, 50_257)
  const maxContextTokens = keys.integer('n_positions', CONTEXT, 1024)
  keys.neutral('n_ctx', [maxContextTokens])
  const attentionScale = keys.flag('scale_attn_weights', true) ? 1 / Math.sqrt(headDim) : 1
  const isScaledByLayer = keys.flag('scale_attn_by_inverse_layer_idx', false)
  keys.ignore('reorder_and_upcast_attn') // a matter of precision
  for (const key of SUMMARY) keys.ignore(key)
  return finishJson(keys, {
    ...PLAIN,
    modelType: 'gpt2',
    hiddenSize,
    numLayers,
    numHeads,
    numKvHeads: numHeads,
    headDim,
    intermediateSize: keys.integer('n_inner', SIZE, 4 * hiddenSize),
    vocabSize,
    maxContextTokens,
    eosTokenIds: jsonEosTokenIds(keys, vocabSize),
    tieWordEmbeddings:
      keys.flag('tie_word_embeddings', true) && !checkpoint.tensors.has('lm_head.weight'),
    biases: BIASES,
    norm: jsonLayerNorm(keys, 'layer_norm_epsilon', 1e-5),
    activation: readActivation(keys, 'activation_function', 'gelu_new'),
    ropes: [],
    layers: Array.from({ length: numLayers }, (_, layer): LayerConfig => {
      const plain = { rope: null, window: null }
      return isScaledByLayer ? { ...plain, attentionScale: attentionScale / (layer + 1) } : plain
    }),
    attentionScale,
  })
}

/** Of a head for classification. */
const SUMMARY = [
  '_num_labels',
  'summary_activation',
  'summary_first_dropout',
  'summary_proj_to_labels',
  'summary_type',
  'summary_use_proj',
]

function readGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'gpt2',
    architecture: 'gpt2',
    style: null,
    norm: 'layer',
  })
  return finishGguf(keys, { ...config, biases: BIASES, activation: 'gelu_tanh' })
}

/** Causal masks that older versions of transformers stored in each layer. */
function masks(
  { kind, tensors }: Checkpoint,
  { numLayers, maxContextTokens }: ModelConfig,
): readonly ExpectedTensor[] {
  if (kind !== 'safetensors') return []
  const prefix = tensors.has('transformer.wte.weight') ? 'transformer.' : ''
  return Array.from({ length: numLayers }).flatMap((_, layer) => [
    {
      name: `${prefix}h.${layer}.attn.bias`,
      shape: [1, 1, maxContextTokens, maxContextTokens],
      isOptional: true,
    },
    { name: `${prefix}h.${layer}.attn.masked_bias`, shape: [], isOptional: true },
  ])
}
