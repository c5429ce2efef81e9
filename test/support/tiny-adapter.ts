/**
 * Adapters for the tiny llama folder, as PEFT saves them, with seeded numbers; and the same change made to the base's own
 * weights, W + scale · B A, which is what an adapter must compute.
 */

import { type GgufSpec, type GgufTensor, writeGguf } from './gguf-writer.ts'
import { encodeSafetensors, f32, type TensorSpec, writeModelFolder } from './safetensors-writer.ts'
import { seededRandom } from './seeded-random.ts'
import { TINY_CONFIG, type TinyWeight, tinyLlamaWeights } from './tiny-llama-folder.ts'
import { TINY_LLAMA, type TinyLlamaShape, tinyLlamaMetadata } from './tiny-llama-gguf.ts'

export const TINY_MODULES = [
  'self_attn.q_proj',
  'self_attn.k_proj',
  'self_attn.v_proj',
  'self_attn.o_proj',
  'mlp.gate_proj',
  'mlp.up_proj',
  'mlp.down_proj',
] as const

/** Outputs and inputs in the tiny llama. */
const SHAPES: Readonly<Record<string, readonly [number, number]>> = {
  'self_attn.q_proj': [64, 48],
  'self_attn.k_proj': [32, 48],
  'self_attn.v_proj': [32, 48],
  'self_attn.o_proj': [48, 64],
  'mlp.gate_proj': [80, 48],
  'mlp.up_proj': [80, 48],
  'mlp.down_proj': [48, 80],
}

export interface TinyAdapterParts {
  readonly seed?: number
  readonly rank?: number
  readonly alpha?: number
  readonly modules?: readonly string[]
  /** Rank of single modules, and what alpha they are scaled by. */
  readonly ranks?: Readonly<Record<string, number>>
  readonly alphas?: Readonly<Record<string, number>>
  readonly isRankStabilised?: boolean
}

export interface TinyMatrices {
  /** As in the base: `model.layers.0.self_attn.q_proj`. */
  readonly module: string
  readonly rank: number
  readonly scale: number
  readonly outputs: number
  readonly inputs: number
  readonly down: readonly number[]
  readonly up: readonly number[]
}

export interface TinyAdapter {
  readonly config: Readonly<Record<string, unknown>>
  readonly matrices: readonly TinyMatrices[]
}

export function tinyAdapter(parts: TinyAdapterParts = {}): TinyAdapter {
  const { seed = 5, rank = 4, alpha = 12, modules = TINY_MODULES, isRankStabilised = false } = parts
  const { ranks = {}, alphas = {} } = parts
  const random = seededRandom(seed)
  const values = (length: number) => Array.from({ length }, () => Math.fround(random.next() - 0.5))
  const matrices = [0, 1].flatMap((layer) =>
    modules.map((name): TinyMatrices => {
      const [outputs, inputs] = SHAPES[name]!
      const own = ranks[name] ?? rank
      const scale = (alphas[name] ?? alpha) / (isRankStabilised ? Math.sqrt(own) : own)
      const down = values(own * inputs)
      const up = values(outputs * own)
      const module = `model.layers.${layer}.${name}`
      return { module, rank: own, scale, outputs, inputs, down, up }
    }),
  )
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: 'tiny/llama',
    r: rank,
    lora_alpha: alpha,
    use_rslora: isRankStabilised,
    rank_pattern: ranks,
    alpha_pattern: alphas,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    lora_dropout: 0.05,
    inference_mode: true,
    modules_to_save: null,
    target_modules: modules.map((name) => name.split('.').at(-1)),
    use_dora: false,
  }
  return { config, matrices }
}

export function adapterTensors(adapter: TinyAdapter): Record<string, TensorSpec> {
  return Object.fromEntries(
    adapter.matrices.flatMap(({ module, rank, outputs, inputs, down, up }) => [
      [`base_model.model.${module}.lora_A.weight`, { shape: [rank, inputs], data: f32(down) }],
      [`base_model.model.${module}.lora_B.weight`, { shape: [outputs, rank], data: f32(up) }],
    ]),
  )
}

/** @param config - members to set, or to leave out when `undefined`. @returns the folder */
export function writeAdapter(
  folder: string,
  adapter: TinyAdapter,
  config: Readonly<Record<string, unknown>> = {},
  tensors: Readonly<Record<string, TensorSpec>> = {},
): Promise<string> {
  const members = Object.entries({ ...adapter.config, ...config })
  return writeModelFolder(folder, {
    'adapter_config.json': Object.fromEntries(members.filter(([, value]) => value !== undefined)),
    'adapter_model.safetensors': encodeSafetensors({ ...adapterTensors(adapter), ...tensors }),
  })
}

/** The tiny llama's weights with the adapter in them. */
export function mergedWeights({ matrices }: Pick<TinyAdapter, 'matrices'>): readonly TinyWeight[] {
  const changes = new Map(matrices.map((change) => [`${change.module}.weight`, change]))
  return tinyLlamaWeights().map((weight) => {
    const change = changes.get(weight.name)
    if (change === undefined) return weight
    const { rank, scale, inputs, down, up } = change
    const values = weight.values.map((value, at) => {
      const [output, input] = [Math.floor(at / inputs), at % inputs]
      let sum = 0
      for (let j = 0; j < rank; j++) sum += up[output * rank + j]! * down[j * inputs + input]!
      return value + scale * sum
    })
    return { ...weight, values }
  })
}

export function writeWeightsFolder(
  folder: string,
  weights: readonly TinyWeight[],
): Promise<string> {
  const tensors = weights.map(
    ({ name, shape, values }) => [name, { shape, data: f32(values) }] as const,
  )
  return writeModelFolder(folder, {
    'config.json': TINY_CONFIG,
    'model.safetensors': encodeSafetensors(Object.fromEntries(tensors)),
  })
}

const GGUF_NAMES: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  post_attention_layernorm: 'ffn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.o_proj': 'attn_output',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}

/** The same llama as llama.cpp's converter writes it: other names, and q and k with their heads' halves in pairs. */
export function writeConvertedGguf(file: string, weights: readonly TinyWeight[]): Promise<string> {
  const shape: TinyLlamaShape = {
    ...TINY_LLAMA,
    hiddenSize: 48,
    numLayers: 2,
    numHeads: 4,
    numKvHeads: 2,
    headDim: 16,
    intermediateSize: 80,
    vocabSize: 96,
    isTied: false,
    format: 'F32',
  }
  const metadata: GgufSpec['metadata'] = [
    ...tinyLlamaMetadata(shape).filter(([key]) => key !== 'llama.rope.freq_base'),
    ['llama.rope.freq_base', { type: 'f32', value: 5000 }],
  ]
  const tensors = weights.map(({ name, shape: dims, values }): GgufTensor => {
    const isPaired = /\.[qk]_proj\./.test(name)
    const data = f32(isPaired ? paired(values, dims[1]!) : values)
    return { name: ggufName(name), dims: [...dims].reverse(), type: 0, data }
  })
  return writeGguf(file, { metadata, tensors }).then(() => file)
}

function ggufName(name: string): string {
  const whole: Readonly<Record<string, string>> = {
    'model.embed_tokens.weight': 'token_embd.weight',
    'model.norm.weight': 'output_norm.weight',
    'lm_head.weight': 'output.weight',
  }
  const [, layer, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? []
  return whole[name] ?? `blk.${layer}.${GGUF_NAMES[part!]}.weight`
}

/** `permute` of llama.cpp: heads of [2][8] rows become [8][2]. */
function paired(values: readonly number[], width: number): number[] {
  const rows = values.length / width
  const out = new Array<number>(values.length)
  for (let row = 0; row < rows; row++) {
    const [head, half, at] = [Math.floor(row / 16), Math.floor((row % 16) / 8), row % 8]
    const to = head * 16 + at * 2 + half
    for (let k = 0; k < width; k++) out[to * width + k] = values[row * width + k]!
  }
  return out
}
