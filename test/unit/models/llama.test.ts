import { describe, expect, it } from 'vitest'
import { kvLayersOf, PLAIN, type RopeSetting } from '../../../models/model-config.ts'
import { ropeFrequencies } from '../../../models/reading/rope.ts'
import { definitionOf } from '../../../models/registry.ts'
import type { Checkpoint } from '../../../src/checkpoint/checkpoint.ts'
import {
  TINY_LLAMA,
  type TinyLlamaShape,
  tinyLlamaCheckpoint,
} from '../../support/tiny-llama-gguf.ts'

const PLAIN_ROPE: RopeSetting = {
  theta: 10_000,
  rotaryDim: 0,
  style: 'half',
  linearFactor: 1,
  factorsTensor: null,
  factors: null,
  magnitude: 1,
}

function checkpointOf(change: Partial<TinyLlamaShape> = {}) {
  return tinyLlamaCheckpoint({ ...TINY_LLAMA, ...change })
}

function build(checkpoint: Checkpoint, constants = new Map<string, Float32Array>()) {
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  return definition.buildGraph(checkpoint, config, constants)
}

function refusal(code: string, details: object) {
  return expect.objectContaining({ code, details: expect.objectContaining(details) })
}

describe('registry', () => {
  it('refuses an architecture it does not know, naming those it does', () => {
    const checkpoint = checkpointOf()
    checkpoint.metadata.set('general.architecture', 'mamba')
    const details = {
      got: '"mamba"',
      known: expect.stringContaining('llama'),
      key: 'general.architecture',
    }
    expect(() => definitionOf(checkpoint)).toThrow(
      refusal('MODEL_UNSUPPORTED_ARCHITECTURE', details),
    )
    checkpoint.metadata.delete('general.architecture')
    expect(() => definitionOf(checkpoint)).toThrow('no such key')
  })

  it('refuses a kind of checkpoint that the architecture has no reader for', () => {
    const checkpoint = checkpointOf()
    const { readConfig } = definitionOf(checkpoint)
    expect(() => readConfig({ ...checkpoint, kind: 'onnx' as 'gguf' })).toThrow(
      refusal('MODEL_UNSUPPORTED_CHECKPOINT_KIND', {
        got: 'onnx',
        expected: 'gguf or safetensors',
      }),
    )
  })
})

describe('llama configuration from GGUF', () => {
  it('reads every field, with the defaults of absent keys', () => {
    const checkpoint = checkpointOf()
    checkpoint.metadata.set('tokenizer.ggml.eot_token_id', 1)
    checkpoint.metadata.set('tokenizer.ggml.eom_token_id', 2)
    const config = definitionOf(checkpoint).readConfig(checkpoint)
    expect(config).toEqual({
      modelType: 'llama',
      hiddenSize: 96,
      numLayers: 3,
      numHeads: 6,
      numKvHeads: 2,
      headDim: 32,
      intermediateSize: 160,
      ...PLAIN,
      biases: { qkv: 'optional', attentionOutput: 'optional', mlp: 'optional', norm: false },
      norm: { kind: 'rms', epsilon: 1e-5, weightOffset: 0 },
      ropes: [{ ...PLAIN_ROPE, rotaryDim: 32, style: 'interleaved' }],
      layers: Array(3).fill({ rope: 0, window: null }),
      attentionScale: 1 / Math.sqrt(32),
      tieWordEmbeddings: true,
      vocabSize: 320,
      maxContextTokens: 512,
      eosTokenIds: [1, 2],
    })
    expect(kvLayersOf(config)).toEqual(Array(3).fill({ numKvHeads: 2, headDim: 32 }))
  })

  it.each([
    ['llama.block_count', undefined],
    ['llama.block_count', 0],
    ['llama.embedding_length', 96.5],
    ['llama.attention.head_count', [6, 6, 6]],
    ['llama.attention.layer_norm_rms_epsilon', 'small'],
    ['llama.attention.layer_norm_rms_epsilon', Number.NaN],
    ['llama.rope.freq_base', 0],
    ['llama.context_length', 2n ** 60n],
    ['llama.vocab_size', 319],
    ['llama.rope.dimension_count', 64],
    ['tokenizer.ggml.eos_token_id', 320],
  ])('refuses %s = %s by name', (key, value) => {
    const checkpoint = checkpointOf()
    if (value === undefined) checkpoint.metadata.delete(key)
    else checkpoint.metadata.set(key, value)
    expect(() => definitionOf(checkpoint).readConfig(checkpoint)).toThrow(
      refusal('MODEL_BAD_METADATA', { key }),
    )
  })

  it.each([
    ['llama.expert_used_count', 8],
    ['llama.attention.clamp_kqv', 8],
    ['llama.attention.sliding_window', 128],
    ['llama.attention.causal', false],
    ['llama.attention.value_length', 16],
    ['llama.attention.head_count_kv', 4],
    ['llama.rope.scaling.type', 'longrope'],
    ['llama.rope.dimension_count', 31],
    ['llama.logit_scale', 0.5],
    ['llama.something_new', 1],
  ])('refuses %s = %s, which would change the mathematics', (key, value) => {
    const checkpoint = checkpointOf()
    checkpoint.metadata.set(key, value)
    expect(() => definitionOf(checkpoint).readConfig(checkpoint)).toThrow(
      refusal('MODEL_UNSUPPORTED_FEATURE', { key, architecture: 'llama' }),
    )
  })

  it.each([
    [{}, 1],
    [{ 'llama.rope.scaling.type': 'linear', 'llama.rope.scaling.factor': 4 }, 4],
    [{ 'llama.rope.scaling.factor': 4 }, 4],
    [{ 'llama.rope.scale_linear': 2 }, 2],
    [{ 'llama.rope.scaling.type': 'none', 'llama.rope.scaling.factor': 4 }, 1],
    [{ 'llama.rope.scaling.factor': 0 }, 1],
  ])('takes rope scaling %j as a division by %d', (keys, linearFactor) => {
    const checkpoint = checkpointOf()
    for (const [key, value] of Object.entries(keys)) checkpoint.metadata.set(key, value)
    const [rope] = definitionOf(checkpoint).readConfig(checkpoint).ropes
    expect(rope?.linearFactor).toBe(linearFactor)
  })

  it('shows no more than a line of a hostile value', () => {
    const checkpoint = checkpointOf()
    checkpoint.metadata.set('llama.rope.scaling.type', 'x'.repeat(1_000_000))
    try {
      definitionOf(checkpoint).readConfig(checkpoint)
      expect.unreachable()
    } catch (error) {
      expect(String(error).length).toBeLessThan(400)
    }
  })
})

describe('llama tensors', () => {
  it.each(['token_embd.weight', 'blk.2.ffn_down.weight', 'output_norm.weight'])(
    'names %s when it is missing',
    (tensor) => {
      const checkpoint = checkpointOf()
      checkpoint.tensors.delete(tensor)
      expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_MISSING', { tensor }))
    },
  )

  it('names a tensor of another shape with both shapes', () => {
    const checkpoint = checkpointOf()
    const tensor = 'blk.1.attn_k.weight'
    checkpoint.tensors.set(tensor, { ...checkpoint.tensors.get(tensor)!, shape: [96, 64] })
    const details = { tensor, expected: '[64, 96]', got: '[96, 64]' }
    expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_SHAPE', details))
  })

  it('names a tensor that the architecture does not have', () => {
    const checkpoint = checkpointOf()
    const name = 'blk.0.attn_sub_norm.weight'
    checkpoint.tensors.set(name, { ...checkpoint.tensors.get('output_norm.weight')!, name })
    const details = { tensor: name, numTensors: 1, got: '[96]' }
    expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_UNEXPECTED', details))
  })

  it('refuses a quantized norm', () => {
    const checkpoint = checkpointOf()
    const tensor = 'output_norm.weight'
    checkpoint.tensors.set(tensor, { ...checkpoint.tensors.get(tensor)!, format: 'Q8_0' })
    expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_FORMAT', { tensor, got: 'Q8_0' }))
  })

  it('refuses biases on some of q, k and v only, naming the missing one', () => {
    const checkpoint = checkpointOf({ hasBiases: true })
    checkpoint.tensors.delete('blk.1.attn_k.bias')
    const details = { tensor: 'blk.1.attn_k.bias' }
    expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_MISSING', details))
  })
})

describe('llama graph', () => {
  it('is one node an operation, with fused parts and fused norms', () => {
    const graph = build(checkpointOf({ numLayers: 2 }))
    const attention = ['Linear', 'PagedAttention', 'Linear']
    const rest = ['AddRmsNorm', 'GatedMlp']
    expect(graph.nodes.map(({ operator }) => operator)).toEqual([
      'Embedding',
      'RmsNorm',
      ...attention,
      ...rest,
      'AddRmsNorm',
      ...attention,
      'GatherRows',
      ...rest,
      'AddRmsNorm',
      'Linear',
    ])
    expect(graph.nodes[2]?.attributes).toEqual({
      weight: 'blk.0.attn_q.weight+blk.0.attn_k.weight+blk.0.attn_v.weight',
    })
    expect(graph.nodes[6]?.attributes).toEqual({
      gateUp: 'blk.0.ffn_gate.weight+blk.0.ffn_up.weight',
      down: 'blk.0.ffn_down.weight',
      kind: 'silu',
    })
    expect(graph.nodes[3]?.attributes).toMatchObject({
      layer: 0,
      numHeads: 6,
      numKvHeads: 2,
      headDim: 32,
      ropeStyle: 'interleaved',
      scale: 1 / Math.sqrt(32),
    })
  })

  it('computes what lies behind the last attention on the wanted rows only', () => {
    const { nodes } = build(checkpointOf())
    const attentions = nodes.filter(({ operator }) => operator === 'PagedAttention')
    const areWanted = attentions.map(({ inputs }) => inputs.includes('logitsRows'))
    expect(areWanted).toEqual(attentions.map((_, index) => index === attentions.length - 1))
    const at = nodes.findIndex(({ operator }) => operator === 'GatherRows')
    expect(nodes[at + 1]?.inputs).toEqual([nodes[at - 1]?.outputs[0], nodes[at]?.outputs[0]])
  })

  it.each([
    [true, 'token_embd.weight'],
    [false, 'output.weight'],
  ])('tied = %s takes its head from %s', (isTied, weight) => {
    const graph = build(checkpointOf({ isTied }))
    expect(graph.nodes.at(-1)?.attributes.weight).toBe(weight)
    expect(graph.vocabSize).toBe(320)
  })

  it('adds biases to the joined matrix', () => {
    const graph = build(checkpointOf({ hasBiases: true }))
    const bias = 'blk.0.attn_q.bias+blk.0.attn_k.bias+blk.0.attn_v.bias'
    expect(graph.nodes[2]?.attributes.bias).toBe(bias)
    expect(graph.nodes[4]?.attributes.bias).toBeUndefined()
  })

  it('divides the inverse frequencies by the factors of the checkpoint', () => {
    const checkpoint = checkpointOf({ hasRopeFactors: true })
    const definition = definitionOf(checkpoint)
    const config = definition.readConfig(checkpoint)
    const wanted = definition.constantTensors(checkpoint, config)
    expect(wanted.map(({ name }) => name)).toEqual(['rope_freqs.weight'])
    const factors = new Float32Array(16).fill(2)
    const graph = build(checkpoint, new Map([['rope_freqs.weight', factors]]))
    const constants = graph.weights.filter((weight) => weight.kind === 'constant')
    expect(constants).toHaveLength(1)
    expect(constants[0]?.values[0]).toBe(0.5)
    expect(() => build(checkpoint)).toThrow('L2')
  })

  it('has the inverse frequencies of RoFormer', () => {
    const options = { theta: 10_000, rotaryDim: 4, linearFactor: 1, factors: null }
    expect([...ropeFrequencies(options)]).toEqual([1, Math.fround(0.01)])
    expect([...ropeFrequencies({ ...options, linearFactor: 4 })]).toEqual([
      0.25,
      Math.fround(0.0025),
    ])
  })
})
