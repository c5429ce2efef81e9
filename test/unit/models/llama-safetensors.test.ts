import { describe, expect, it } from 'vitest'
import { PLAIN } from '../../../models/model-config.ts'
import { ropeFrequencies } from '../../../models/reading/rope.ts'
import { definitionOf } from '../../../models/registry.ts'
import type { Checkpoint } from '../../../src/checkpoint/checkpoint.ts'
import type { GraphNode } from '../../../src/graph/graph.ts'
import { tinyLlamaFolder } from '../../support/tiny-llama-folder.ts'

function configOf(checkpoint: Checkpoint) {
  return definitionOf(checkpoint).readConfig(checkpoint)
}

function build(checkpoint: Checkpoint) {
  const definition = definitionOf(checkpoint)
  const config = definition.readConfig(checkpoint)
  definition.checkTensors(checkpoint, config)
  expect(definition.constantTensors(checkpoint, config)).toEqual([])
  return definition.buildGraph(checkpoint, config, new Map())
}

function refusal(code: string, details: object) {
  return expect.objectContaining({ code, details: expect.objectContaining(details) })
}

describe('llama configuration from config.json', () => {
  it('reads every field', () => {
    expect(configOf(tinyLlamaFolder())).toEqual({
      modelType: 'llama',
      hiddenSize: 48,
      numLayers: 2,
      numHeads: 4,
      numKvHeads: 2,
      headDim: 16,
      intermediateSize: 80,
      ...PLAIN,
      norm: { kind: 'rms', epsilon: 1e-5, weightOffset: 0 },
      ropes: [
        {
          theta: 5000,
          rotaryDim: 16,
          style: 'half',
          linearFactor: 1,
          factorsTensor: null,
          factors: null,
          magnitude: 1,
        },
      ],
      layers: Array(2).fill({ rope: 0, window: null }),
      attentionScale: 1 / 4,
      tieWordEmbeddings: false,
      vocabSize: 96,
      maxContextTokens: 512,
      eosTokenIds: [2],
    })
  })

  it('has the defaults of transformers for members that are absent or null', () => {
    const absent = {
      architectures: undefined,
      attention_bias: undefined,
      head_dim: null,
      hidden_act: undefined,
      max_position_embeddings: undefined,
      mlp_bias: null,
      num_key_value_heads: null,
      pretraining_tp: undefined,
      rms_norm_eps: undefined,
      rope_parameters: undefined,
      rope_scaling: null,
      tie_word_embeddings: undefined,
      eos_token_id: null,
    }
    expect(configOf(tinyLlamaFolder(absent))).toMatchObject({
      headDim: 12,
      numKvHeads: 4,
      norm: { epsilon: 1e-6 },
      ropes: [{ theta: 10_000 }],
      maxContextTokens: 2048,
      biases: { qkv: false, attentionOutput: false, mlp: false },
      tieWordEmbeddings: false,
      eosTokenIds: [],
    })
  })

  it.each([
    [{ eos_token_id: [7, 3, 7] }, [3, 7]],
    [{ eos_token_id: 3, generation_config: { eos_token_id: [9, 8] } }, [8, 9]],
    [{ eos_token_id: 3, generation_config: { eos_token_id: null, top_p: 0.9 } }, [3]],
  ])('ends answers, for %j, with %j', (change, ids) => {
    expect(configOf(tinyLlamaFolder(change)).eosTokenIds).toEqual(ids)
  })

  it.each([
    ['num_hidden_layers', undefined],
    ['num_hidden_layers', 0],
    ['num_hidden_layers', '2'],
    ['hidden_size', 48.5],
    ['hidden_size', null],
    ['vocab_size', -1],
    ['rms_norm_eps', 'small'],
    ['attention_bias', 1],
    ['eos_token_id', 96],
    ['eos_token_id', [1, 'x']],
    ['rope_parameters', 'llama3'],
    ['rope_theta', 0],
    ['max_position_embeddings', 2 ** 40],
  ])('refuses %s = %s by name', (key, value) => {
    const checkpoint = tinyLlamaFolder({ [key]: value })
    const details = { key, file: '/model/config.json' }
    expect(() => configOf(checkpoint)).toThrow(refusal('MODEL_BAD_METADATA', details))
  })

  it.each([
    ['architectures', ['LlamaForSequenceClassification']],
    ['hidden_act', 'mish'],
    ['pretraining_tp', 2],
    ['head_dim', 15],
    ['num_key_value_heads', 3],
    ['sliding_window', 128],
    ['partial_rotary_factor', 0.5],
    ['rope_interleaved', true],
    ['quantization_config', { quant_method: 'gptq' }],
    ['rope_scaling', { rope_type: 'linear', factor: 2 }],
    ['something_new', 1],
  ])('refuses %s = %j, which would change the mathematics', (key, value) => {
    const checkpoint = tinyLlamaFolder({ [key]: value })
    const details = { key, architecture: 'llama' }
    expect(() => configOf(checkpoint)).toThrow(refusal('MODEL_UNSUPPORTED_FEATURE', details))
  })

  it.each([
    [{ rope_type: 'other', factor: 2 }, 'MODEL_UNSUPPORTED_FEATURE', 'rope_type'],
    [{ rope_type: 'longrope', factor: 2 }, 'MODEL_BAD_METADATA', 'short_factor'],
    [{ rope_type: 'linear' }, 'MODEL_BAD_METADATA', 'factor'],
    [{ rope_type: 'linear', factor: 0 }, 'MODEL_BAD_METADATA', 'factor'],
    [{ rope_type: 'linear', factor: 2, new: 1 }, 'MODEL_UNSUPPORTED_FEATURE', 'new'],
    [{ rope_type: 'llama3', factor: 2 }, 'MODEL_BAD_METADATA', 'low_freq_factor'],
    [
      { rope_type: 'llama3', factor: 2, low_freq_factor: 4, high_freq_factor: 4 },
      'MODEL_UNSUPPORTED_FEATURE',
      'high_freq_factor',
    ],
    [{ rope_type: 'default', type: 'linear' }, 'MODEL_UNSUPPORTED_FEATURE', 'type'],
    [{ rope_type: 'default', partial_rotary_factor: 0.5 }, 'MODEL_UNSUPPORTED_FEATURE', 'partial'],
    [{ full_attention: { rope_type: 'default' } }, 'MODEL_UNSUPPORTED_FEATURE', 'full_attention'],
  ])('refuses rope parameters %j', (parameters, code, key) => {
    const checkpoint = tinyLlamaFolder({ rope_parameters: parameters })
    const path = expect.stringContaining(`rope_parameters.${key}`)
    expect(() => configOf(checkpoint)).toThrow(refusal(code, { key: path }))
  })
})

describe('rope parameters', () => {
  /** Inverse frequencies that the graph gets, and the factor of cosine and sine. */
  function ropeOf(parameters: object, key = 'rope_parameters') {
    const checkpoint = tinyLlamaFolder({ rope_parameters: undefined, [key]: parameters })
    const { theta, rotaryDim, linearFactor, factors, magnitude } = configOf(checkpoint).ropes[0]!
    const frequencies = ropeFrequencies({ theta, rotaryDim, linearFactor, factors })
    return { frequencies: [...frequencies], magnitude }
  }

  /** From transformers' formulas in numpy, f64. */
  function expectClose(got: readonly number[], expected: readonly number[]) {
    expect(got).toHaveLength(expected.length)
    for (const [pair, value] of expected.entries()) {
      expect(Math.abs(got[pair]! / value - 1)).toBeLessThan(1e-6)
    }
  }

  const llama3 = {
    rope_theta: 50_000,
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 64,
  }
  const yarn = {
    rope_type: 'yarn',
    rope_theta: 1e4,
    factor: 4,
    original_max_position_embeddings: 64,
  }

  it('of llama3 leave short wavelengths, divide long ones and blend between', () => {
    const { frequencies, magnitude } = ropeOf(llama3)
    expectClose(
      frequencies,
      [
        1.0, 0.155575518, 0.00835925381, 0.00216170418, 0.000559016994, 0.000144561871,
        3.73837195e-5, 9.66743497e-6,
      ],
    )
    expect(magnitude).toBe(1)
  })

  it('of llama3 take the context of the model when they name none', () => {
    const { original_max_position_embeddings: _, ...rest } = llama3
    expect(ropeOf(rest)).toEqual(ropeOf({ ...rest, original_max_position_embeddings: 512 }))
  })

  it('of yarn blend by rotations and raise cosine and sine', () => {
    const { frequencies, magnitude } = ropeOf(yarn)
    expectClose(
      frequencies,
      [1.0, 0.237170825, 0.05, 0.00790569415, 0.0025, 0.000790569415, 0.00025, 7.90569415e-5],
    )
    expect(magnitude).toBeCloseTo(1.138629436111989, 12)
    const sharp = ropeOf({ ...yarn, beta_fast: 8, beta_slow: 2, truncate: false })
    expectClose(
      sharp.frequencies,
      [1.0, 0.160589135, 0.025, 0.00790569415, 0.0025, 0.000790569415, 0.00025, 7.90569415e-5],
    )
  })

  it('of yarn may state the magnitude, or two scales of it', () => {
    expect(ropeOf({ ...yarn, attention_factor: 0.5 }).magnitude).toBe(0.5)
    const scaled = ropeOf({ ...yarn, mscale: 2, mscale_all_dim: 0.5 }).magnitude
    expect(scaled).toBeCloseTo((1 + 0.2 * Math.log(4)) / (1 + 0.05 * Math.log(4)), 12)
  })

  it('of older files lie in rope_scaling, with their type under another name', () => {
    const { rope_type: type, rope_theta: _, ...rest } = yarn
    expect(ropeOf({ type, ...rest }, 'rope_scaling')).toEqual(ropeOf(yarn))
  })

  it('of linear divide all frequencies; dynamic ones change none within the context', () => {
    const plain = ropeOf({ rope_type: 'default' }).frequencies
    const linear = ropeOf({ rope_type: 'linear', factor: 2 }).frequencies
    expectClose(
      linear,
      plain.map((frequency) => frequency / 2),
    )
    expect(ropeOf({ rope_type: 'dynamic', factor: 2 }).frequencies).toEqual(plain)
  })

  it('reach the attention nodes', () => {
    const graph = build(tinyLlamaFolder({ rope_parameters: yarn }))
    const attention = graph.nodes.filter(({ operator }) => operator === 'PagedAttention')
    for (const { attributes } of attention) {
      expect(attributes).toMatchObject({ ropeStyle: 'half', ropeScale: 1 + 0.1 * Math.log(4) })
    }
    const constants = graph.weights.filter((weight) => weight.kind === 'constant')
    expect(constants.map(({ values }) => [...values])).toEqual([ropeOf(yarn).frequencies])
  })
})

describe('llama tensors of a folder', () => {
  it('are joined under their own names', () => {
    const { nodes, vocabSize } = build(tinyLlamaFolder())
    const named = ({ attributes }: GraphNode) => [attributes.weight, attributes.gateUp]
    const weights = nodes.flatMap(named).filter(Boolean)
    expect(weights[0]).toBe('model.embed_tokens.weight')
    const projections = ['q', 'k', 'v'].map(
      (name) => `model.layers.0.self_attn.${name}_proj.weight`,
    )
    expect(weights).toContain(projections.join('+'))
    expect(weights).toContain(
      'model.layers.1.mlp.gate_proj.weight+model.layers.1.mlp.up_proj.weight',
    )
    expect(weights.at(-1)).toBe('lm_head.weight')
    expect(vocabSize).toBe(96)
  })

  it('have biases exactly where the configuration says so', () => {
    const { nodes } = build(tinyLlamaFolder({ attention_bias: true, mlp_bias: true }))
    const hasBias = nodes.flatMap(({ operator, attributes }) => {
      const { bias, gateUpBias, downBias } = attributes
      const biases = operator === 'GatedMlp' ? [gateUpBias, downBias] : [bias]
      return operator === 'GatedMlp' || operator === 'Linear' ? biases.map(Boolean) : []
    })
    expect(hasBias).toEqual([...Array(8).fill(true), false])
    const missing = tinyLlamaFolder({ mlp_bias: true })
    missing.tensors.delete('model.layers.1.mlp.up_proj.bias')
    const tensor = 'model.layers.1.mlp.up_proj.bias'
    expect(() => build(missing)).toThrow(refusal('MODEL_TENSOR_MISSING', { tensor }))
    const more = tinyLlamaFolder({ attention_bias: true })
    more.metadata.set('attention_bias', false)
    expect(() => build(more)).toThrow(refusal('MODEL_TENSOR_UNEXPECTED', { numTensors: 8 }))
  })

  it('tie the head when none is stored, and use one that is', () => {
    const tied = tinyLlamaFolder({ tie_word_embeddings: true })
    expect(build(tied).nodes.at(-1)?.attributes.weight).toBe('model.embed_tokens.weight')
    const stored = tinyLlamaFolder()
    stored.metadata.set('tie_word_embeddings', true)
    expect(build(stored).nodes.at(-1)?.attributes.weight).toBe('lm_head.weight')
    const none = tinyLlamaFolder()
    none.tensors.delete('lm_head.weight')
    const details = { tensor: 'lm_head.weight', expected: '[96, 48]' }
    expect(() => build(none)).toThrow(refusal('MODEL_TENSOR_MISSING', details))
  })

  it('may include the rotary buffers of older files, and nothing else', () => {
    const checkpoint = tinyLlamaFolder()
    const norm = checkpoint.tensors.get('model.norm.weight')!
    const buffer = 'model.layers.1.self_attn.rotary_emb.inv_freq'
    checkpoint.tensors.set(buffer, { ...norm, name: buffer, shape: [8] })
    build(checkpoint)
    const name = 'model.layers.2.input_layernorm.weight'
    checkpoint.tensors.set(name, { ...norm, name })
    expect(() => build(checkpoint)).toThrow(
      refusal('MODEL_TENSOR_UNEXPECTED', { tensor: name, numTensors: 1 }),
    )
  })

  it('are refused by name and both shapes when they do not fit the configuration', () => {
    const checkpoint = tinyLlamaFolder({ num_key_value_heads: 4 })
    const details = {
      tensor: 'model.layers.0.self_attn.k_proj.weight',
      expected: '[64, 48]',
      got: '[32, 48]',
      file: '/model/model.safetensors',
    }
    expect(() => build(checkpoint)).toThrow(refusal('MODEL_TENSOR_SHAPE', details))
  })
})
