/**
 * `config.json` of DeepSeek V3 and its kin. Source: transformers, `DeepseekV3Config`, and the members of the files that
 * DeepSeek itself published, which name what later versions took for granted.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ExpertsConfig, LatentConfig, ModelConfig } from '../model-config.ts'
import { COUNT, SIZE } from './bounds.ts'
import { ConfigKeys } from './config-keys.ts'
import { readJsonExpertCount, readTopK } from './experts.ts'
import { finishJson, readJsonDecoder } from './json-decoder.ts'
import { jsonRmsNorm } from './norms.ts'

const MODEL_TYPE = 'deepseek_v3'
const LAYERS = { least: 0, most: 4096 }
const ANY = { least: 0, most: 1 << 20 }
/** The default of transformers' norm, which the configuration's own epsilon does not reach. */
const LATENT_EPSILON = 1e-6

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readDeepseekJson(checkpoint: Checkpoint): ModelConfig {
  const ropeDim = ConfigKeys.ofJson(checkpoint, MODEL_TYPE).integer('qk_rope_head_dim', SIZE, 64)
  const { keys, config } = readJsonDecoder(checkpoint, {
    modelType: MODEL_TYPE,
    className: 'DeepseekV3ForCausalLM',
    sizes: { maxContextTokens: 4096, isTied: false, numKvHeads: 128, headDim: ropeDim },
    theta: 10_000,
    norm: (keys) => jsonRmsNorm(keys, 1e-6),
    rope: (keys) => ({
      style: keys.flag('rope_interleave', true) ? 'interleaved' : 'half',
    }),
  })
  const latent = readLatent(keys)
  const { numHeads, numKvHeads, headDim, numLayers } = config
  if (headDim !== ropeDim)
    throw keys.unsupported('head_dim', headDim, `qk_rope_head_dim, ${ropeDim}`)
  if (numKvHeads !== numHeads) {
    throw keys.unsupported('num_key_value_heads', numKvHeads, `as many as heads, ${numHeads}`)
  }
  const hasBias = keys.flag('attention_bias', false)
  const numDense = keys.integer('first_k_dense_replace', LAYERS, 3)
  const keptWidth = latent.kvRank + ropeDim
  const layers = Array.from({ length: numLayers }, (_, index) => ({
    rope: 0,
    window: null,
    isDense: index < numDense,
  }))
  keys.neutral('moe_layer_freq', [1])
  for (const key of UNUSED) keys.ignore(key)
  return finishJson(keys, {
    ...config,
    biases: { ...config.biases, qkv: hasBias, attentionOutput: hasBias },
    numKvHeads: 1,
    headDim: keptWidth,
    latent,
    kvLayer: { numKvHeads: 1, headDim: keptWidth, valueDim: latent.kvRank },
    attentionScale: readScale(keys, latent),
    layers,
    experts: readExperts(keys, config),
  })
}

/** Of training, of prediction layers, and of how experts are spread over machines. */
const UNUSED = [
  'aux_loss_alpha',
  'ep_size',
  'num_mtp_layers',
  'num_nextn_predict_layers',
  'seq_aux',
]

function readLatent(keys: ConfigKeys): LatentConfig {
  const queryRank = keys.isNull('q_lora_rank') ? null : keys.integer('q_lora_rank', SIZE, 1536)
  const nopeDim = keys.integer('qk_nope_head_dim', SIZE, 128)
  const ropeDim = keys.integer('qk_rope_head_dim', SIZE, 64)
  keys.neutral('qk_head_dim', [nopeDim + ropeDim])
  return {
    queryRank,
    kvRank: keys.integer('kv_lora_rank', SIZE, 512),
    nopeDim,
    ropeDim,
    valueDim: keys.integer('v_head_dim', SIZE, 128),
    epsilon: LATENT_EPSILON,
  }
}

/** 1 / √(width of a head), times the square of YaRN's magnitude where it says one for all dimensions. */
function readScale(keys: ConfigKeys, { nopeDim, ropeDim }: LatentConfig): number {
  const plain = 1 / Math.sqrt(nopeDim + ropeDim)
  const rope = keys.child('rope_parameters') ?? keys.child('rope_scaling')
  if (rope === null || rope.text('rope_type', rope.text('type', 'default')) === 'default') {
    return plain
  }
  const mscale = rope.number('mscale_all_dim', ANY, 0)
  if (mscale === 0) return plain
  const factor = rope.number('factor', ANY)
  const magnitude = factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
  return plain * magnitude * magnitude
}

function readExperts(keys: ConfigKeys, { activation: kind }: ModelConfig): ExpertsConfig {
  keys.neutral('scoring_func', ['sigmoid'])
  keys.neutral('topk_method', ['noaux_tc'])
  const numExperts = readJsonExpertCount(keys, ['n_routed_experts', 'num_local_experts'], 256)
  const numGroups = keys.integer('n_group', COUNT, 8)
  const topGroups = keys.integer('topk_group', { least: 1, most: numGroups }, 4)
  // A group is as good as its two best experts.
  if (numExperts % numGroups !== 0 || numExperts / numGroups < 2) {
    const expected = `a divisor of ${numExperts} that leaves two experts a group`
    throw keys.unsupported('n_group', numGroups, expected)
  }
  const numOpen = (numExperts / numGroups) * topGroups
  const size = keys.integer('moe_intermediate_size', SIZE, 2048)
  const numShared = keys.integer('n_shared_experts', COUNT, 1)
  return {
    numExperts,
    size,
    router: {
      scoring: 'sigmoid',
      topK: readTopK(keys, 'num_experts_per_tok', numOpen, 8),
      normalize: keys.flag('norm_topk_prob', true),
      gainScale: keys.number('routed_scaling_factor', ANY, 2.5),
      numGroups,
      topGroups,
    },
    hasCorrection: true,
    hasBias: false,
    shared: { size: numShared * size, isGated: false },
    unit: { kind },
  }
}
