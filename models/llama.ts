/**
 * Architecture `llama`: Llama 1–3, SmolLM, and what is converted to them. RMS norm before each half of a layer, grouped
 * query attention with rotary positions, SwiGLU.
 *
 *   x ── norm ── q,k,v ── attention ── o ──┐         ┌── norm ── gate,up ── swiglu ── down ──┐
 *   └───────────────────────────────────── + ── x ───┴────────────────────────────────────── + ── next layer
 *
 * The sum and the norm after it are one node. The last norm and the head run on the wanted rows only.
 * L1 There is at least one layer. L2 Rope factors that the configuration names are among the constants.
 * Tensor names are GGUF's. Source: arXiv:2302.13971; llama.cpp `llm_build_llama`.
 */

import { invariant } from '../src/base/errors.ts'
import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts'
import type { Graph, GraphValue } from '../src/graph/graph.ts'
import { type AttentionOptions, GraphBuilder } from '../src/graph/graph-builder.ts'
import { modelError } from './errors.ts'
import { readLlamaGguf } from './llama-gguf.ts'
import type { ModelConfig } from './model-config.ts'
import type { ModelDefinition } from './model-definition.ts'
import { ropeFrequencies } from './rope.ts'
import { checkTensorSet, type ExpectedTensor, tensorOf } from './tensor-check.ts'

const DENSE = ['F32', 'F16', 'BF16'] as const

export const llama: ModelDefinition = {
  modelType: 'llama',
  readConfig,
  checkTensors: (checkpoint, config) =>
    checkTensorSet(checkpoint, config.modelType, expectedTensors(config)),
  constantTensors: (checkpoint, { ropeScaling }) =>
    ropeScaling.factorsTensor === null ? [] : [tensorOf(checkpoint, ropeScaling.factorsTensor)],
  buildGraph,
}

/** Another kind of checkpoint is one more case here. */
function readConfig(checkpoint: Checkpoint): ModelConfig {
  if (checkpoint.kind === 'gguf') return readLlamaGguf(checkpoint)
  const file = checkpoint.files[0] ?? ''
  throw modelError('MODEL_UNSUPPORTED_CHECKPOINT_KIND', {
    details: { file, architecture: 'llama', expected: 'gguf', got: checkpoint.kind },
  })
}

function expectedTensors(config: ModelConfig): readonly ExpectedTensor[] {
  const { hiddenSize, intermediateSize, vocabSize, headDim, numHeads, numKvHeads } = config
  const queryWidth = numHeads * headDim
  const kvWidth = numKvHeads * headDim
  const vector = (name: string, size: number, isOptional = false): ExpectedTensor => {
    return { name, shape: [size], isOptional, formats: DENSE }
  }
  const tensors: ExpectedTensor[] = [
    { name: 'token_embd.weight', shape: [vocabSize, hiddenSize] },
    vector('output_norm.weight', hiddenSize),
    { name: 'output.weight', shape: [vocabSize, hiddenSize], isOptional: true },
    {
      name: 'rope_freqs.weight',
      shape: [config.rotaryDim / 2],
      isOptional: true,
      formats: ['F32'],
    },
  ]
  for (let layer = 0; layer < config.numLayers; layer++) {
    const block = `blk.${layer}`
    tensors.push(
      vector(`${block}.attn_norm.weight`, hiddenSize),
      { name: `${block}.attn_q.weight`, shape: [queryWidth, hiddenSize] },
      { name: `${block}.attn_k.weight`, shape: [kvWidth, hiddenSize] },
      { name: `${block}.attn_v.weight`, shape: [kvWidth, hiddenSize] },
      { name: `${block}.attn_output.weight`, shape: [hiddenSize, queryWidth] },
      vector(`${block}.attn_q.bias`, queryWidth, true),
      vector(`${block}.attn_k.bias`, kvWidth, true),
      vector(`${block}.attn_v.bias`, kvWidth, true),
      vector(`${block}.attn_output.bias`, hiddenSize, true),
      vector(`${block}.ffn_norm.weight`, hiddenSize),
      { name: `${block}.ffn_gate.weight`, shape: [intermediateSize, hiddenSize] },
      { name: `${block}.ffn_up.weight`, shape: [intermediateSize, hiddenSize] },
      { name: `${block}.ffn_down.weight`, shape: [hiddenSize, intermediateSize] },
      vector(`${block}.ffn_gate.bias`, intermediateSize, true),
      vector(`${block}.ffn_up.bias`, intermediateSize, true),
      vector(`${block}.ffn_down.bias`, hiddenSize, true),
    )
  }
  return tensors
}

function buildGraph(
  checkpoint: Checkpoint,
  config: ModelConfig,
  constants: ReadonlyMap<string, Float32Array>,
): Graph {
  const builder = new GraphBuilder()
  const norm = { epsilon: config.rmsNormEpsilon }
  const attention = attentionOptions(config, constants)
  let residual = builder.embedding(tensorOf(checkpoint, 'token_embd.weight'))
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
  const { normed } = builder.addRmsNorm(
    builder.gatherRows(output),
    builder.gatherRows(residual),
    tensorOf(checkpoint, 'output_norm.weight'),
    { epsilon: config.rmsNormEpsilon },
  )
  const head = config.tieWordEmbeddings ? 'token_embd.weight' : 'output.weight'
  const logits = builder.linear(normed, [tensorOf(checkpoint, head)])
  return builder.finish(logits, config.maxContextTokens)
}

function attentionOptions(
  config: ModelConfig,
  constants: ReadonlyMap<string, Float32Array>,
): AttentionOptions {
  const { numHeads, numKvHeads, headDim, rotaryDim, ropeScaling } = config
  const { linearFactor, factorsTensor } = ropeScaling
  const factors = factorsTensor === null ? null : (constants.get(factorsTensor) ?? null)
  invariant(factorsTensor === null || factors !== null, 'L2', 'the rope factors were not read')
  const frequencies = ropeFrequencies({
    theta: config.ropeTheta,
    rotaryDim,
    linearFactor,
    factors,
  })
  const rope = { style: config.ropeStyle, frequencies }
  return { numHeads, numKvHeads, headDim, scale: 1 / Math.sqrt(headDim), rope }
}

/** The tensors of one layer by their short names. */
class LayerTensors {
  readonly #checkpoint: Checkpoint
  readonly #block: string

  constructor(checkpoint: Checkpoint, layer: number) {
    this.#checkpoint = checkpoint
    this.#block = `blk.${layer}`
  }

  weight(name: string): TensorInfo {
    return tensorOf(this.#checkpoint, `${this.#block}.${name}.weight`)
  }

  /** One node for the joined matrices, with their biases when there are any; then each must have one. */
  linear(builder: GraphBuilder, x: GraphValue, names: readonly string[]): GraphValue {
    const weights = names.map((name) => this.weight(name))
    const biasNames = names.map((name) => `${this.#block}.${name}.bias`)
    const hasBias = biasNames.some((name) => this.#checkpoint.tensors.has(name))
    const biases = hasBias ? biasNames.map((name) => tensorOf(this.#checkpoint, name)) : []
    return builder.linear(x, weights, biases)
  }
}
