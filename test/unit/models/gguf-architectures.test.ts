import { describe, expect, it } from 'vitest'
import { definitionOf, knownModelTypes } from '../../../models/registry.ts'
import { ServingError } from '../../../src/base/errors.ts'
import type { Graph } from '../../../src/graph/graph.ts'
import { checkpointIndex, withAskedTensors } from '../../support/checkpoint-index.ts'

const EPSILON_KEYS: Readonly<Record<string, string>> = {
  cohere2: 'layer_norm_epsilon',
  gpt2: 'layer_norm_epsilon',
  starcoder2: 'layer_norm_epsilon',
}

/** A file of two layers; keys without the architecture in front. */
function ggufOf(architecture: string, keys: Readonly<Record<string, unknown>> = {}) {
  const own = {
    block_count: 2,
    context_length: 512,
    embedding_length: 48,
    feed_forward_length: 80,
    'attention.head_count': 4,
    'attention.head_count_kv': architecture === 'gpt2' ? 4 : 2,
    [`attention.${EPSILON_KEYS[architecture] ?? 'layer_norm_rms_epsilon'}`]: 1e-5,
    ...(architecture === 'cohere2' || architecture === 'granite' ? { logit_scale: 0.5 } : {}),
    ...(architecture === 'cohere2' ? { 'attention.sliding_window': 16 } : {}),
    ...keys,
  }
  const prefixed = Object.entries(own).map(([key, value]) => [`${architecture}.${key}`, value])
  const metadata = { 'general.architecture': architecture, ...Object.fromEntries(prefixed) }
  return checkpointIndex('gguf', metadata, { 'token_embd.weight': [96, 48] })
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

/** Without what comes before the first layer and after the last one. */
function operatorsOf({ nodes }: Graph): readonly string[] {
  return nodes.map(({ operator }) => operator)
}

function refusal(key: string) {
  return expect.objectContaining({
    code: expect.stringMatching(/^MODEL_(UNSUPPORTED_FEATURE|BAD_METADATA)$/),
    details: expect.objectContaining({ key }),
  })
}

const DENSE = [
  'cohere2',
  'gemma2',
  'gemma3',
  'glm4',
  'gpt2',
  'granite',
  'llama',
  'olmo2',
  'phi3',
  'qwen2',
  'qwen3',
  'smollm3',
  'starcoder2',
]

describe('architectures from GGUF', () => {
  it.each(DENSE)(
    '%s makes a graph of the tensors it asks for, and of no others',
    (architecture) => {
      expect(knownModelTypes('gguf')).toContain(architecture)
      const checkpoint = ggufOf(architecture)
      expect(graphOf(checkpoint).kvLayers).toHaveLength(2)
      const more = { ...checkpoint.tensors.get('token_embd.weight')!, name: 'blk.0.more.weight' }
      checkpoint.tensors.set(more.name, more)
      const details = expect.objectContaining({ tensor: more.name })
      expect(() => definitionOf(checkpoint).checkTensors(checkpoint, configOf(checkpoint))).toThrow(
        expect.objectContaining({ code: 'MODEL_TENSOR_UNEXPECTED', details }),
      )
    },
  )

  it.each(DENSE)('%s refuses a key that nobody asked for, and experts', (architecture) => {
    for (const [key, value] of [
      ['attention.something_new', 1],
      // A llama with experts is a mixtral.
      [architecture === 'llama' ? 'clamp_kqv' : 'expert_count', 4],
      ['attention.causal', false],
    ] as const) {
      expect(() => configOf(ggufOf(architecture, { [key]: value }))).toThrow(
        refusal(`${architecture}.${key}`),
      )
    }
  })

  it.each(DENSE)('%s with a hostile value anywhere is read or refused by name', (architecture) => {
    const hostile = [true, -1, 0, 0.5, 3, 2 ** 53, 2n ** 60n, Number.NaN, '', 'x'.repeat(9999)]
    const keys = ggufOf(architecture).metadata.keys()
    const more = ['rope.dimension_count', 'rope.freq_base', 'rope.scaling.factor', 'vocab_size']
    for (const key of [...keys, ...more.map((name) => `${architecture}.${name}`)]) {
      for (const value of [...hostile, [], [1, 2], Array(100_000).fill(1)]) {
        const checkpoint = ggufOf(architecture)
        checkpoint.metadata.set(key, value)
        try {
          configOf(checkpoint)
        } catch (error) {
          expect(error, `${key} = ${String(value).slice(0, 50)}`).toBeInstanceOf(ServingError)
          expect(String(error).length).toBeLessThan(1000)
        }
      }
    }
  })

  it('takes q, k and v joined by a converter', () => {
    const checkpoint = ggufOf('qwen2')
    const joined = { ...checkpoint.tensors.get('token_embd.weight')!, shape: [96, 48] }
    for (const layer of [0, 1]) {
      const name = `blk.${layer}.attn_qkv.weight`
      checkpoint.tensors.set(name, { ...joined, name })
    }
    const [, , qkv] = graphOf(checkpoint).nodes
    expect(qkv?.attributes.weight).toBe('blk.0.attn_qkv.weight')
  })

  it('puts norms on both sides of each half of gemma2', () => {
    const half = ['RmsNorm', 'AddRmsNorm']
    expect(operatorsOf(graphOf(ggufOf('gemma2', { block_count: 1 })))).toEqual([
      'Embedding',
      'RmsNorm',
      ...['Linear', 'PagedAttention', 'Linear', 'GatherRows', ...half],
      ...['GatedMlp', 'RmsNorm'],
      ...['AddRmsNorm', 'Linear', 'Scale'],
    ])
  })

  it('norms after each half of olmo2 only, and all of q and of k', () => {
    expect(operatorsOf(graphOf(ggufOf('olmo2', { block_count: 1 })))).toEqual([
      'Embedding',
      ...['Linear', 'QkNorm', 'PagedAttention', 'Linear', 'GatherRows', 'RmsNorm', 'Add'],
      ...['GatedMlp', 'RmsNorm'],
      ...['AddRmsNorm', 'Linear'],
    ])
  })

  it('computes both halves of cohere2 from one norm', () => {
    const graph = graphOf(ggufOf('cohere2', { block_count: 1 }))
    expect(operatorsOf(graph)).toEqual([
      'Embedding',
      'LayerNorm',
      ...['Linear', 'PagedAttention', 'Linear', 'GatherRows'],
      ...['GatherRows', 'GatedMlp', 'Add'],
      ...['Add', 'LayerNorm', 'Linear', 'Scale'],
    ])
    const normed = graph.nodes[1]?.outputs[0]
    const readers = graph.nodes.filter(({ inputs }) => inputs.includes(normed ?? ''))
    expect(readers.map(({ name }) => name)).toEqual(['linear.0', 'gather.1'])
  })

  it('adds positions of gpt2 to its embeddings, and takes its biases', () => {
    const graph = graphOf(ggufOf('gpt2', { block_count: 1 }))
    expect(operatorsOf(graph)).toEqual([
      ...['Embedding', 'Embedding', 'Add', 'LayerNorm', 'Linear', 'PagedAttention', 'Linear'],
      ...['GatherRows', 'Add', 'LayerNorm', 'Linear', 'Activation', 'Linear'],
      ...['Add', 'LayerNorm', 'Linear'],
    ])
    expect(graph.nodes[1]?.inputs).toEqual(['positions'])
    expect(graph.nodes[3]?.attributes.bias).toBe('blk.0.attn_norm.bias')
    expect(graph.nodes[5]?.attributes.ropeStyle).toBe('none')
  })
})

describe('windows and rope settings from GGUF', () => {
  it('of gemma3: every sixth layer sees all, the others have their own frequencies', () => {
    const keys = { block_count: 7, 'attention.sliding_window': 8, 'rope.freq_base': 1e6 }
    const scaled = { 'rope.scaling.type': 'linear', 'rope.scaling.factor': 8 }
    const { layers, ropes } = configOf(ggufOf('gemma3', { ...keys, ...scaled }))
    expect(layers.map(({ window }) => window)).toEqual([8, 8, 8, 8, 8, null, 8])
    expect(layers.map(({ rope }) => rope)).toEqual([1, 1, 1, 1, 1, 0, 1])
    expect(ropes).toMatchObject([
      { theta: 1e6, linearFactor: 8 },
      { theta: 10_000, linearFactor: 1 },
    ])
  })

  it('of gemma3 without a window: all layers see all', () => {
    const { layers } = configOf(ggufOf('gemma3'))
    expect(layers).toEqual(Array(2).fill({ rope: 0, window: null }))
  })

  it.each([
    [3, [true, true, false]],
    [
      [false, true, false],
      [false, true, false],
    ],
  ])('pattern %j slides layers %j', (pattern, slides) => {
    const keys = { block_count: 3, 'attention.sliding_window': 8 }
    const stated = { ...keys, 'attention.sliding_window_pattern': pattern }
    const { layers } = configOf(ggufOf('gemma2', stated))
    expect(layers.map(({ window }) => window === 8)).toEqual(slides)
  })

  it('refuses a pattern for another number of layers', () => {
    const keys = { 'attention.sliding_window_pattern': [true] }
    const key = 'gemma2.attention.sliding_window_pattern'
    expect(() => configOf(ggufOf('gemma2', keys))).toThrow(refusal(key))
  })

  it.each([
    ['gemma2', 46],
    ['gemma3', 62],
  ])('scales the attention of the largest %s by the share of a head', (architecture, layers) => {
    const keys = { 'attention.key_length': 16, 'attention.value_length': 16 }
    expect(configOf(ggufOf(architecture, keys)).attentionScale).toBe(1 / 4)
    const largest = configOf(ggufOf(architecture, { ...keys, block_count: layers }))
    expect(largest.attentionScale).toBe(1 / Math.sqrt(12))
  })

  it('of phi3: short factors of LongRoPE, and a context that ends with them', () => {
    const checkpoint = ggufOf('phi3', {
      'rope.scaling.original_context_length': 64,
      'rope.scaling.attn_factor': 1.2,
      'attention.sliding_window': 0,
    })
    const factors = { ...checkpoint.tensors.get('token_embd.weight')!, shape: [6] }
    for (const name of ['rope_factors_short.weight', 'rope_factors_long.weight']) {
      checkpoint.tensors.set(name, { ...factors, name })
    }
    const config = configOf(checkpoint)
    expect(config.maxContextTokens).toBe(64)
    expect(config.ropes).toMatchObject([
      { factorsTensor: 'rope_factors_short.weight', magnitude: 1.2 },
    ])
    const definition = definitionOf(checkpoint)
    withAskedTensors(checkpoint, (index) => definition.checkTensors(index, config))
    expect(definition.constantTensors(checkpoint, config).map(({ name }) => name)).toEqual([
      'rope_factors_short.weight',
    ])
  })

  it('of yarn: as in config.json', () => {
    const { ropes, maxContextTokens } = configOf(
      ggufOf('qwen3', {
        'rope.scaling.type': 'yarn',
        'rope.scaling.factor': 4,
        'rope.scaling.original_context_length': 128,
      }),
    )
    expect(maxContextTokens).toBe(512)
    expect(ropes[0]?.magnitude).toBeCloseTo(1 + 0.1 * Math.log(4), 12)
    expect(ropes[0]?.factors?.at(-1)).toBe(4)
  })

  it('of yarn with a stated magnitude, whose meaning differs between versions: refused', () => {
    const keys = { 'rope.scaling.type': 'yarn', 'rope.scaling.yarn_attn_factor': 0.8 }
    const key = 'qwen3.rope.scaling.yarn_attn_factor'
    expect(() => configOf(ggufOf('qwen3', keys))).toThrow(refusal(key))
  })

  it('of smollm3: every fourth layer rotates nothing in', () => {
    const { layers } = configOf(ggufOf('smollm3', { block_count: 5 }))
    expect(layers.map(({ rope }) => rope)).toEqual([0, 0, 0, null, 0])
  })

  it('of cohere2: layers that see all rotate nothing in', () => {
    const { layers } = configOf(ggufOf('cohere2', { block_count: 5 }))
    const sliding = { rope: 0, window: 16 }
    expect(layers).toEqual([sliding, sliding, sliding, { rope: null, window: null }, sliding])
  })
})
