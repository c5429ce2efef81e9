/** Architectures with experts: what they ask for, what their graphs are made of, and what their readers refuse. */

import { describe, expect, it } from 'vitest'
import { memberOf, rowsOf } from '../../../models/blocks/tensor-slices.ts'
import { definitionOf } from '../../../models/registry.ts'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import type { Graph } from '../../../src/graph/graph.ts'
import { checkpointIndex, withAskedTensors } from '../../support/checkpoint-index.ts'
import { PUBLISHED } from '../../support/published-configs.ts'

type Members = Readonly<Record<string, unknown>>

const SIZES = {
  block_count: 2,
  context_length: 512,
  embedding_length: 64,
  feed_forward_length: 96,
  'attention.head_count': 4,
  'attention.head_count_kv': 2,
  'attention.layer_norm_rms_epsilon': 1e-5,
  expert_count: 4,
  expert_used_count: 2,
  expert_feed_forward_length: 32,
}

const GGUF: Readonly<Record<string, Members>> = {
  llama: {},
  qwen2moe: { expert_shared_feed_forward_length: 48 },
  qwen3moe: {},
  'gpt-oss': { 'attention.sliding_window': 16 },
  deepseek2: {
    'attention.head_count_kv': 1,
    'attention.key_length': 40,
    'attention.value_length': 32,
    'attention.key_length_mla': 24,
    'attention.value_length_mla': 16,
    'attention.kv_lora_rank': 32,
    'attention.q_lora_rank': 24,
    'rope.dimension_count': 8,
    leading_dense_block_count: 1,
    expert_shared_count: 1,
    expert_gating_func: 2,
    expert_weights_norm: true,
    expert_weights_scale: 2.5,
  },
}

function ggufOf(architecture: string, keys: Members = {}) {
  const own = { ...SIZES, ...GGUF[architecture], ...keys }
  const prefixed = Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value])
  const metadata = { 'general.architecture': architecture, ...Object.fromEntries(prefixed) }
  return checkpointIndex('gguf', metadata, { 'token_embd.weight': [96, 64] })
}

function jsonOf(name: string, members: Members = {}) {
  return checkpointIndex('safetensors', { ...PUBLISHED[name], ...members })
}

function configOf(checkpoint: ReturnType<typeof ggufOf>) {
  return definitionOf(checkpoint).readConfig(checkpoint)
}

function graphOf(checkpoint: ReturnType<typeof ggufOf>): Graph {
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  withAskedTensors(checkpoint, (index) => definition.checkTensors(index, config))
  return definition.buildGraph(checkpoint, config, new Map())
}

function refusal(key: string) {
  return expect.objectContaining({
    code: expect.stringMatching(/^MODEL_(UNSUPPORTED_FEATURE|BAD_METADATA)$/),
    details: expect.objectContaining({ key }),
  })
}

const EXPERTS = ['Linear', 'Moe']

describe('architectures with experts, from GGUF', () => {
  it.each([
    ['llama', EXPERTS],
    ['qwen2moe', [...EXPERTS, 'Linear', 'Moe', 'Add']],
    ['qwen3moe', EXPERTS],
    ['gpt-oss', EXPERTS],
  ] as const)('%s has its experts in each layer', (architecture, operators) => {
    const graph = graphOf(ggufOf(architecture, { block_count: 1 }))
    const half = graph.nodes.map(({ operator }) => operator)
    const start = half.indexOf('AddRmsNorm') + 1
    expect(half.slice(start, half.lastIndexOf('AddRmsNorm'))).toEqual(operators)
  })

  it('deepseek2 absorbs what makes keys and values, and begins with one MLP', () => {
    const graph = graphOf(ggufOf('deepseek2'))
    const attention = [
      ...['Linear', 'RmsNorm', 'Linear', 'SliceHeads', 'SliceHeads', 'HeadLinear'],
      ...['Linear', 'SliceHeads', 'RmsNorm', 'SliceHeads', 'ConcatHeads'],
      ...['ConcatHeads', 'ConcatHeads', 'ConcatHeads', 'PagedAttention', 'HeadLinear', 'Linear'],
    ]
    expect(graph.nodes.map(({ operator }) => operator)).toEqual([
      ...['Embedding', 'RmsNorm', ...attention],
      ...['AddRmsNorm', 'GatedMlp'],
      ...['AddRmsNorm', ...attention, 'GatherRows'],
      ...['AddRmsNorm', 'Linear', 'Moe', 'GatedMlp', 'Add'],
      ...['AddRmsNorm', 'Linear'],
    ])
    const kept = { numKvHeads: 1, headDim: 40, valueDim: 32 }
    expect(graph.kvLayers).toEqual([kept, kept])
    const moe = graph.nodes.find(({ operator }) => operator === 'Moe')
    expect(moe?.attributes).toMatchObject({ scoring: 'sigmoid', normalize: 1, gainScale: 2.5 })
  })

  it.each(Object.keys(GGUF))('%s asks for its tensors and for no others', (architecture) => {
    const checkpoint = ggufOf(architecture)
    expect(graphOf(checkpoint).kvLayers).toHaveLength(2)
    const more = { ...checkpoint.tensors.get('token_embd.weight')!, name: 'blk.0.more.weight' }
    checkpoint.tensors.set(more.name, more)
    expect(() => definitionOf(checkpoint).checkTensors(checkpoint, configOf(checkpoint))).toThrow(
      expect.objectContaining({
        code: 'MODEL_TENSOR_UNEXPECTED',
        details: expect.objectContaining({ tensor: more.name }),
      }),
    )
  })

  it.each<[string, Members, string]>([
    ['llama', { expert_used_count: 5 }, 'expert_used_count'],
    ['qwen3moe', { expert_count: 4097 }, 'expert_count'],
    ['qwen3moe', { expert_weights_scale: 2 }, 'expert_weights_scale'],
    ['gpt-oss', { 'attention.sliding_window': -1 }, 'attention.sliding_window'],
    ['deepseek2', { expert_gating_func: 3 }, 'expert_gating_func'],
    ['deepseek2', { expert_gating_func: 1, expert_group_count: 2 }, 'expert_gating_func'],
    ['deepseek2', { expert_group_count: 3 }, 'expert_group_count'],
    ['deepseek2', { expert_group_count: 4 }, 'expert_group_count'],
    ['deepseek2', { 'attention.key_length_mla': 8 }, 'attention.key_length_mla'],
    [
      'deepseek2',
      { 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4 },
      'rope.scaling.yarn_log_multiplier',
    ],
  ])('%s refuses %j', (architecture, keys, key) => {
    expect(() => configOf(ggufOf(architecture, keys))).toThrow(refusal(`${architecture}.${key}`))
  })
})

describe('architectures with experts, from config.json', () => {
  it.each<[string, Members, string]>([
    ['mistralai/Mixtral-8x7B-v0.1', { num_experts: 7 }, 'num_experts'],
    ['mistralai/Mixtral-8x7B-v0.1', { num_experts_per_tok: 9 }, 'num_experts_per_tok'],
    ['Qwen/Qwen1.5-MoE-A2.7B', { decoder_sparse_step: 0 }, 'decoder_sparse_step'],
    ['Qwen/Qwen1.5-MoE-A2.7B', { norm_topk_prob: 1 }, 'norm_topk_prob'],
    ['Qwen/Qwen3-30B-A3B', { mlp_only_layers: [-1] }, 'mlp_only_layers'],
    ['openai/gpt-oss-20b', { rope_scaling: null }, 'rope_parameters'],
    ['openai/gpt-oss-20b', { experts_per_token: 3 }, 'experts_per_token'],
    ['openai/gpt-oss-20b', { swiglu_limit: 0 }, 'swiglu_limit'],
    ['deepseek-ai/DeepSeek-V3', { scoring_func: 'softmax' }, 'scoring_func'],
    ['deepseek-ai/DeepSeek-V3', { topk_method: 'greedy' }, 'topk_method'],
    ['deepseek-ai/DeepSeek-V3', { moe_layer_freq: 2 }, 'moe_layer_freq'],
    ['deepseek-ai/DeepSeek-V3', { n_group: 3, topk_group: 1 }, 'n_group'],
    ['deepseek-ai/DeepSeek-V3', { n_group: 256, topk_group: 8 }, 'n_group'],
    ['deepseek-ai/DeepSeek-V3', { topk_group: 9 }, 'topk_group'],
    ['deepseek-ai/DeepSeek-V3', { num_key_value_heads: 64 }, 'num_key_value_heads'],
    ['deepseek-ai/DeepSeek-V3', { head_dim: 128 }, 'head_dim'],
    ['deepseek-ai/DeepSeek-V3', { qk_head_dim: 128 }, 'qk_head_dim'],
    ['deepseek-ai/DeepSeek-V3', { something_new: 1 }, 'something_new'],
  ])('%s refuses %j', (name, members, key) => {
    expect(() => configOf(jsonOf(name, members))).toThrow(refusal(key))
  })

  it('layers are dense where Qwen says so', () => {
    const members = { num_hidden_layers: 5, decoder_sparse_step: 2, mlp_only_layers: [3] }
    const { layers } = configOf(jsonOf('Qwen/Qwen3-30B-A3B', members))
    expect(layers.map(({ isDense }) => isDense)).toEqual([true, false, true, true, true])
  })

  it('prediction layers behind the last are there and are not computed', () => {
    const members = {
      num_hidden_layers: 1,
      first_k_dense_replace: 1,
      vocab_size: 96,
      hidden_size: 128,
      num_attention_heads: 2,
      num_key_value_heads: 2,
    }
    const checkpoint = jsonOf('deepseek-ai/DeepSeek-V3', members)
    graphOf(checkpoint)
    const norm = checkpoint.tensors.get('model.norm.weight')!
    for (const name of ['model.layers.1.eh_proj.weight', 'model.layers.0.eh_proj.weight']) {
      checkpoint.tensors.set(name, { ...norm, name })
    }
    expect(() => definitionOf(checkpoint).checkTensors(checkpoint, configOf(checkpoint))).toThrow(
      expect.objectContaining({
        code: 'MODEL_TENSOR_UNEXPECTED',
        details: expect.objectContaining({
          tensor: 'model.layers.0.eh_proj.weight',
          numTensors: 1,
        }),
      }),
    )
  })
})

describe('slices of stored tensors', () => {
  const stacked: TensorInfo = {
    name: 'w',
    format: 'Q8_0',
    shape: [4, 2, 64],
    file: 'f',
    offset: 1000,
    byteLength: 4 * 2 * 68,
  }

  it('one of a stack is a matrix of its own', () => {
    expect(memberOf(stacked, 3)).toEqual({
      ...stacked,
      name: 'w[3]',
      shape: [2, 64],
      offset: 1000 + 3 * 136,
      byteLength: 136,
    })
  })

  it('rows of a matrix keep their width', () => {
    const matrix = { ...stacked, shape: [8, 64] }
    expect(rowsOf(matrix, { name: 'w[1].key', first: 2, count: 3 })).toEqual({
      ...stacked,
      name: 'w[1].key',
      shape: [3, 64],
      offset: 1000 + 2 * 68,
      byteLength: 3 * 68,
    })
  })

  it('blocks and exponents that lie apart are cut alike', () => {
    const split: TensorInfo = {
      ...stacked,
      format: 'MXFP4',
      byteLength: 4 * 2 * 34,
      exponents: { file: 'g', offset: 7, byteLength: 4 * 2 * 2 },
    }
    expect(memberOf(split, 1)).toEqual({
      ...split,
      name: 'w[1]',
      shape: [2, 64],
      offset: 1000 + 64,
      byteLength: 68,
      exponents: { file: 'g', offset: 11, byteLength: 4 },
    })
  })
})
