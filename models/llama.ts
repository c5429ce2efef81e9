/**
 * Architecture `llama`: Llama 1–3, SmolLM, and what is converted to them. RMS norm before each half of a layer, grouped
 * query attention with rotary positions, SwiGLU.
 *
 *   x ── norm ── q,k,v ── attention ── o ──┐         ┌── norm ── gate,up ── swiglu ── down ──┐
 *   └───────────────────────────────────── + ── x ───┴────────────────────────────────────── + ── next layer
 *
 * The sum and the norm after it are one node. The last norm and the head run on the wanted rows only.
 * L1 There is at least one layer. L2 Rope factors that the configuration names are among the constants.
 * Source: arXiv:2302.13971; llama.cpp `llm_build_llama`.
 */

import { invariant } from '../src/base/errors.ts'
import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts'
import type { Graph, GraphValue } from '../src/graph/graph.ts'
import { type AttentionOptions, GraphBuilder } from '../src/graph/graph-builder.ts'
import { modelError } from './errors.ts'
import { readLlamaGguf } from './llama-gguf.ts'
import { readLlamaSafetensors } from './llama-safetensors.ts'
import { expectedLlamaTensors, LLAMA_NAMES, type LlamaPart } from './llama-tensors.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { ropeFrequencies } from './rope.ts'
import { checkTensorSet, tensorOf } from './tensor-check.ts'

export const llama: ModelDefinition = {
  modelType: 'llama',
  readConfig,
  checkTensors: (checkpoint, config) =>
    checkTensorSet(checkpoint, config.modelType, expectedLlamaTensors(checkpoint.kind, config)),
  constantTensors: (checkpoint, { ropeScaling }) =>
    ropeScaling.factorsTensor === null ? [] : [tensorOf(checkpoint, ropeScaling.factorsTensor)],
  buildGraph,
}

/** One reader for each kind of checkpoint that the architecture comes in. */
const READERS: ReadonlyMap<Checkpoint['kind'], (checkpoint: Checkpoint) => ModelConfig> = new Map([
  ['gguf', readLlamaGguf],
  ['safetensors', readLlamaSafetensors],
])

function readConfig(checkpoint: Checkpoint): ModelConfig {
  const read = READERS.get(checkpoint.kind)
  if (read !== undefined) return read(checkpoint)
  const file = checkpoint.files[0] ?? ''
  const expected = [...READERS.keys()].join(' or ')
  throw modelError('MODEL_UNSUPPORTED_CHECKPOINT_KIND', {
    details: { file, architecture: 'llama', expected, got: checkpoint.kind },
  })
}

function buildGraph(
  checkpoint: Checkpoint,
  config: ModelConfig,
  constants: ReadonlyMap<string, Float32Array>,
): Graph {
  const builder = new GraphBuilder()
  const norm = { epsilon: config.rmsNormEpsilon }
  const attention = attentionOptions(config, constants)
  const names = LLAMA_NAMES[checkpoint.kind]
  let residual = builder.embedding(tensorOf(checkpoint, names.embedding))
  let output: GraphValue | null = null // of the layer before; not yet added to `residual`
  for (let layer = 0; layer < config.numLayers; layer++) {
    const part = new LayerTensors(checkpoint, layer)
    const attentionNorm = part.weight('attn_norm')
    let normed: GraphValue
    if (output === null) normed = builder.rmsNorm(residual, attentionNorm, norm)
    else ({ sum: residual, normed } = builder.addRmsNorm(output, residual, attentionNorm, norm))

    const qkv = part.linear(builder, normed, ['attn_q', 'attn_k', 'attn_v'])
    const attended = builder.pagedAttention(qkv, attention)
    const projected = part.linear(builder, attended, ['attn_output'])

    ;({ sum: residual, normed } = builder.addRmsNorm(
      projected,
      residual,
      part.weight('ffn_norm'),
      norm,
    ))
    const gateUp = part.linear(builder, normed, ['ffn_gate', 'ffn_up'])
    output = part.linear(builder, builder.swiGlu(gateUp), ['ffn_down'])
  }
  return finish(builder, { checkpoint, config, residual, output })
}

interface LastState {
  readonly checkpoint: Checkpoint
  readonly config: ModelConfig
  readonly residual: GraphValue
  readonly output: GraphValue | null
}

function finish(builder: GraphBuilder, { checkpoint, config, residual, output }: LastState): Graph {
  invariant(output !== null, 'L1', 'a model has at least one layer')
  const names = LLAMA_NAMES[checkpoint.kind]
  const { normed } = builder.addRmsNorm(
    builder.gatherRows(output),
    builder.gatherRows(residual),
    tensorOf(checkpoint, names.norm),
    { epsilon: config.rmsNormEpsilon },
  )
  const head = config.tieWordEmbeddings ? names.embedding : names.head
  const logits = builder.linear(normed, [tensorOf(checkpoint, head)])
  return builder.finish(logits, config.maxContextTokens)
}

function attentionOptions(
  config: ModelConfig,
  constants: ReadonlyMap<string, Float32Array>,
): AttentionOptions {
  const { numHeads, numKvHeads, headDim, rotaryDim, ropeScaling } = config
  const { linearFactor, factorsTensor } = ropeScaling
  const stored = factorsTensor === null ? null : (constants.get(factorsTensor) ?? null)
  invariant(factorsTensor === null || stored !== null, 'L2', 'the rope factors were not read')
  const frequencies = ropeFrequencies({
    theta: config.ropeTheta,
    rotaryDim,
    linearFactor,
    factors: stored ?? ropeScaling.factors ?? null,
  })
  const rope = { style: config.ropeStyle, frequencies, scale: ropeScaling.magnitude ?? 1 }
  return { numHeads, numKvHeads, headDim, scale: 1 / Math.sqrt(headDim), rope }
}

/** The tensors of one layer by their parts. */
class LayerTensors {
  readonly #checkpoint: Checkpoint
  readonly #layer: number

  constructor(checkpoint: Checkpoint, layer: number) {
    this.#checkpoint = checkpoint
    this.#layer = layer
  }

  weight(part: LlamaPart): TensorInfo {
    return tensorOf(this.#checkpoint, this.#name(part, 'weight'))
  }

  /** One node for the joined matrices, with their biases when there are any; then each must have one. */
  linear(builder: GraphBuilder, x: GraphValue, parts: readonly LlamaPart[]): GraphValue {
    const weights = parts.map((part) => this.weight(part))
    const biasNames = parts.map((part) => this.#name(part, 'bias'))
    const hasBias = biasNames.some((name) => this.#checkpoint.tensors.has(name))
    const biases = hasBias ? biasNames.map((name) => tensorOf(this.#checkpoint, name)) : []
    return builder.linear(x, weights, biases)
  }

  #name(part: LlamaPart, what: 'weight' | 'bias'): string {
    const { layers, parts } = LLAMA_NAMES[this.#checkpoint.kind]
    return `${layers}.${this.#layer}.${parts[part]}.${what}`
  }
}
