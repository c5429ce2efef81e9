/**
 * Architecture `deepseek_v3`: DeepSeek V3 and R1, and what is built like them. Latent attention; experts chosen by
 * corrected sigmoids within the best groups, besides shared ones; the first layers have one MLP. GGUF's `deepseek2`
 * covers V2 as well, whose router is a softmax. Layers behind the last, which predict further tokens, are not computed.
 *
 * Source: arXiv:2412.19437; transformers, `DeepseekV3Config`; llama.cpp `deepseek2.cpp`.
 */

import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { defineDecoder } from './blocks/decoder.ts'
import {
  GGUF_EXPERTS,
  QWEN_EXPERTS,
  ROUTER_NAMES,
  sharedExpertNames,
} from './blocks/expert-names.ts'
import { expertMlp } from './blocks/experts.ts'
import { latentAttention } from './blocks/latent-attention.ts'
import { extended, type NameChanges, namesWith } from './blocks/tensor-names.ts'
import { preNorm } from './blocks/wiring.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { readDeepseekGguf } from './reading/deepseek-gguf.ts'
import { readDeepseekJson } from './reading/deepseek-json.ts'
import type { ExpectedTensor } from './tensor-check.ts'

const LATENT_NAMES: NameChanges = {
  gguf: {
    attn_q_a: 'attn_q_a',
    attn_q_a_norm: 'attn_q_a_norm',
    attn_q_b: 'attn_q_b',
    attn_kv_a_mqa: 'attn_kv_a_mqa',
    attn_kv_a_norm: 'attn_kv_a_norm',
  },
  safetensors: {
    attn_q_a: 'self_attn.q_a_proj',
    attn_q_a_norm: 'self_attn.q_a_layernorm',
    attn_q_b: 'self_attn.q_b_proj',
    attn_kv_a_mqa: 'self_attn.kv_a_proj_with_mqa',
    attn_kv_a_norm: 'self_attn.kv_a_layernorm',
  },
}

export const deepseekV3: ModelDefinition = defineDecoder({
  modelType: 'deepseek_v3',
  readers: {
    gguf: { architecture: 'deepseek2', read: readDeepseekGguf },
    safetensors: { architecture: 'deepseek_v3', read: readDeepseekJson },
  },
  names: extended(namesWith(LATENT_NAMES, ROUTER_NAMES, sharedExpertNames('mlp.shared_experts')), {
    gguf: {
      experts: { ...GGUF_EXPERTS, correction: 'exp_probs_b.bias' },
      latent: {
        joined: 'attn_kv_b.weight',
        apart: { key: 'attn_k_b.weight', value: 'attn_v_b.weight' },
      },
    },
    safetensors: {
      experts: { ...QWEN_EXPERTS, correction: 'mlp.gate.e_score_correction_bias' },
      latent: { joined: 'self_attn.kv_b_proj.weight' },
    },
  }),
  layer: preNorm(latentAttention, expertMlp),
  unread: predictionLayers,
})

/** Whatever lies in layers behind the last. */
function predictionLayers(
  { kind, tensors }: Checkpoint,
  { numLayers }: ModelConfig,
): readonly ExpectedTensor[] {
  const pattern = kind === 'gguf' ? /^blk\.(\d+)\./ : /^(?:model\.)?layers\.(\d+)\./
  return [...tensors.values()]
    .filter(({ name }) => Number(pattern.exec(name)?.[1] ?? -1) >= numLayers)
    .map(({ name, shape }) => ({ name, shape, isOptional: true }))
}
