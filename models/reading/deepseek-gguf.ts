/**
 * GGUF keys of `deepseek2`: DeepSeek V2, V3 and their kin. In files of today attention is described as the one wide key
 * that is kept; in older ones as the heads that are made of it. Source: llama.cpp `deepseek2.cpp`, `llama-context.cpp`.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ExpertsConfig, LatentConfig, ModelConfig, RopeSetting } from '../model-config.ts'
import { COUNT, SIZE } from './bounds.ts'
import type { ConfigKeys } from './config-keys.ts'
import { readGgufExperts } from './experts.ts'
import { finishGguf, readGgufDecoder } from './gguf-decoder.ts'

const LAYERS = { least: 0, most: 4096 }
const ANY = { least: 0, most: 1 << 20 }
/** Values of `expert_gating_func`. */
const SOFTMAX = 1
const SIGMOID = 2

/** @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE */
export function readDeepseekGguf(checkpoint: Checkpoint): ModelConfig {
  const { keys, config } = readGgufDecoder(checkpoint, {
    modelType: 'deepseek_v3',
    architecture: 'deepseek2',
    style: 'interleaved',
    norm: 'rms',
    hasOwnValueLength: true,
  })
  const [rope] = config.ropes
  const ropeDim = rope?.rotaryDim ?? 0
  const latent = readLatent(keys, config, ropeDim)
  const keptWidth = latent.kvRank + ropeDim
  const numDense = keys.integer('leading_dense_block_count', LAYERS, 0)
  const numPrediction = keys.integer('nextn_predict_layers', LAYERS, 0)
  const numLayers = config.numLayers - numPrediction
  const layers = Array.from({ length: numLayers }, (_, index) => ({
    rope: 0,
    window: null,
    isDense: index < numDense,
  }))
  const yarn = readYarn(keys, rope)
  return finishGguf(keys, {
    ...config,
    numLayers,
    numKvHeads: 1,
    headDim: keptWidth,
    latent,
    kvLayer: { numKvHeads: 1, headDim: keptWidth, valueDim: latent.kvRank },
    attentionScale: yarn.scale / Math.sqrt(latent.nopeDim + ropeDim),
    ropes: yarn.ropes,
    layers,
    experts: readExperts(keys, checkpoint, config),
  })
}

function readLatent(keys: ConfigKeys, config: ModelConfig, ropeDim: number): LatentConfig {
  const kvRank = keys.integer('attention.kv_lora_rank', SIZE)
  const keyLength = keys.integer('attention.key_length_mla', SIZE, config.headDim)
  const nopeDim = keyLength - ropeDim
  if (nopeDim < 1) {
    throw keys.unsupported('attention.key_length_mla', keyLength, `more than ${ropeDim}`)
  }
  const valueLength = keys.integer('attention.value_length', SIZE)
  return {
    queryRank: keys.has('attention.q_lora_rank')
      ? keys.integer('attention.q_lora_rank', SIZE)
      : null,
    kvRank,
    nopeDim,
    ropeDim,
    valueDim: keys.integer('attention.value_length_mla', SIZE, valueLength),
    epsilon: config.norm.epsilon,
  }
}

/** YaRN's magnitude goes to the scores of whole heads instead of to cosine and sine. */
function readYarn(
  keys: ConfigKeys,
  rope: RopeSetting | undefined,
): { readonly scale: number; readonly ropes: readonly RopeSetting[] } {
  if (rope === undefined) return { scale: 1, ropes: [] }
  const key = 'rope.scaling.yarn_log_multiplier'
  if (keys.text('rope.scaling.type', 'none') !== 'yarn') {
    keys.ignore(key)
    return { scale: 1, ropes: [rope] }
  }
  // A tenth of `mscale_all_dim`, which is `mscale` too.
  const multiplier = keys.number(key, ANY)
  const factor = keys.number('rope.scaling.factor', { least: 1, most: 1 << 20 })
  keys.neutral('rope.scaling.attn_factor', [0, 1])
  const magnitude = 1 + multiplier * Math.log(factor)
  return { scale: magnitude * magnitude, ropes: [{ ...rope, magnitude: 1 }] }
}

function readExperts(
  keys: ConfigKeys,
  { tensors }: Checkpoint,
  { activation: kind, intermediateSize }: ModelConfig,
): ExpertsConfig {
  const { numExperts, topK, size } = readGgufExperts(keys, intermediateSize)
  const hasCorrection = [...tensors.keys()].some((name) => name.endsWith('.exp_probs_b.bias'))
  // Files of V2 do not say it, nor do some of V3, whose routers alone have corrections.
  const gating = keys.integer('expert_gating_func', ANY, hasCorrection ? SIGMOID : SOFTMAX)
  if (gating !== SOFTMAX && gating !== SIGMOID) {
    throw keys.unsupported('expert_gating_func', gating, `${SOFTMAX} or ${SIGMOID}`)
  }
  const scoring = gating === SIGMOID ? 'sigmoid' : 'softmax'
  const numGroups = keys.integer('expert_group_count', COUNT, 1)
  const topGroups = keys.integer('expert_group_used_count', COUNT, 1)
  if (scoring === 'softmax' && (numGroups > 1 || hasCorrection)) {
    throw keys.unsupported('expert_gating_func', gating, `${SIGMOID}, with groups or corrections`)
  }
  if (numExperts % numGroups !== 0 || numExperts / numGroups < 2 || topGroups > numGroups) {
    const expected = `a divisor of ${numExperts} that leaves two experts a group`
    throw keys.unsupported('expert_group_count', numGroups, expected)
  }
  const numShared = keys.integer('expert_shared_count', LAYERS)
  return {
    numExperts,
    size,
    router: {
      scoring,
      topK,
      normalize: keys.flag('expert_weights_norm', false),
      gainScale: keys.number('expert_weights_scale', ANY, 1) || 1,
      numGroups,
      topGroups,
    },
    hasCorrection,
    hasBias: false,
    shared: numShared === 0 ? null : { size: numShared * size, isGated: false },
    unit: { kind },
  }
}
