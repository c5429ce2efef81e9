/**
 * The tiny llama of `tiny-llama-folder.ts` as an exported ONNX decoder, from stock operators and the same weights: what an
 * export tool would make of it, in each of the ways that such folders differ.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GraphWriter } from './graph-writer.ts'
import { f32 } from './safetensors-writer.ts'
import { TINY_CONFIG, tinyLlamaWeights } from './tiny-llama-folder.ts'
import { encodeOnnx, type TinyModel, type TinyType, type TinyValue } from './tiny-onnx.ts'

export interface ExportedShape {
  /** Attention from primitive operators, or GroupQueryAttention with its own rotation. */
  readonly attention: 'primitive' | 'grouped'
  /** Of the cache and of logits. */
  readonly type: 'f32' | 'f16'
  readonly indices: 'i64' | 'i32'
  /** How many rows get logits: all, the last one, or as many as an input says. */
  readonly logits: 'all' | 'last' | 'asked'
  /** Whether it has the input of a merged decoder. */
  readonly hasCacheBranch: boolean
  /** Whether rows see the rows behind them when there is a past, as some traced graphs do. */
  readonly masksOnlyWithoutPast: boolean
  /** Whether rows after a past are taken for the first ones, as in a wrong export. */
  readonly forgetsPositions: boolean
  /** Tokens of one run; `null` = any number. */
  readonly tokens: number | null
  /** Whether weights lie in a file of their own. */
  readonly isExternal: boolean
}

export const EXPORTED: ExportedShape = {
  attention: 'primitive',
  type: 'f32',
  indices: 'i64',
  logits: 'all',
  hasCacheBranch: false,
  masksOnlyWithoutPast: false,
  forgetsPositions: false,
  tokens: null,
  isExternal: false,
}

const LAYERS = [0, 1]
const HEADS = 4
const KV_HEADS = 2
const HEAD_DIM = 16
const HIDDEN = 48
const CONTEXT = 512
const VOCAB = 96
export const DATA_FILE = 'model.onnx_data'

/** The graph's bytes, and those of its file of weights (empty without one). */
export function exportTinyLlama(change: Partial<ExportedShape> = {}): {
  readonly graph: Buffer
  readonly data: Buffer
} {
  const exporter = new Exporter({ ...EXPORTED, ...change })
  return exporter.export()
}

/** `config.json` and `onnx/model.onnx`, as Optimum's and onnx-community's folders have them. */
export async function writeOptimumFolder(
  folder: string,
  change: Partial<ExportedShape> = {},
  name = 'model',
): Promise<string> {
  const { graph, data } = exportTinyLlama(change)
  await mkdir(join(folder, 'onnx'), { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(TINY_CONFIG))
  await writeFile(join(folder, 'onnx', `${name}.onnx`), graph)
  if (data.length > 0) await writeFile(join(folder, 'onnx', DATA_FILE), data)
  return folder
}

export const GENAI_CONFIG = {
  model: {
    bos_token_id: 1,
    context_length: CONTEXT,
    decoder: {
      filename: 'model.onnx',
      head_size: HEAD_DIM,
      hidden_size: HIDDEN,
      inputs: {
        input_ids: 'input_ids',
        attention_mask: 'attention_mask',
        past_key_names: 'past_key_values.%d.key',
        past_value_names: 'past_key_values.%d.value',
      },
      outputs: {
        logits: 'logits',
        present_key_names: 'present.%d.key',
        present_value_names: 'present.%d.value',
      },
      num_attention_heads: HEADS,
      num_hidden_layers: LAYERS.length,
      num_key_value_heads: KV_HEADS,
    },
    eos_token_id: [2],
    type: 'llama',
    vocab_size: VOCAB,
  },
  search: { past_present_share_buffer: true, max_length: CONTEXT },
}

/** `genai_config.json`, `model.onnx` and its weights, as onnxruntime-genai's model builder writes them. */
export async function writeGenaiFolder(
  folder: string,
  change: Partial<ExportedShape> = {},
): Promise<string> {
  const { graph, data } = exportTinyLlama({ attention: 'grouped', isExternal: true, ...change })
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'genai_config.json'), JSON.stringify(GENAI_CONFIG))
  await writeFile(join(folder, 'model.onnx'), graph)
  if (data.length > 0) await writeFile(join(folder, DATA_FILE), data)
  return folder
}

class Exporter {
  readonly #shape: ExportedShape
  readonly #graph: GraphWriter

  constructor(shape: ExportedShape) {
    this.#shape = shape
    this.#graph = new GraphWriter(shape.isExternal ? DATA_FILE : null)
  }

  export(): { graph: Buffer; data: Buffer } {
    this.#addWeights()
    const graph = this.#graph
    const { node } = graph
    let x = node('Gather', ['model.embed_tokens.weight', 'input_ids'])
    const rotation = this.#shape.attention === 'primitive' ? this.#rotation() : null
    for (const layer of LAYERS) {
      const at = `model.layers.${layer}`
      const normed = this.#norm(x, `${at}.input_layernorm.weight`)
      const attended =
        rotation === null ? this.#grouped(normed, layer) : this.#primitive(normed, layer, rotation)
      x = node('Add', [x, node('MatMul', [attended, `${at}.self_attn.o_proj.weight`])])
      const inner = this.#norm(x, `${at}.post_attention_layernorm.weight`)
      const gate = node('MatMul', [inner, `${at}.mlp.gate_proj.weight`])
      const silu = node('Mul', [gate, node('Sigmoid', [gate])])
      const up = node('MatMul', [inner, `${at}.mlp.up_proj.weight`])
      const both = node('Mul', [silu, up])
      x = node('Add', [x, node('MatMul', [both, `${at}.mlp.down_proj.weight`])])
    }
    const logits = node('MatMul', [
      this.#lastRows(this.#norm(x, 'model.norm.weight')),
      'lm_head.weight',
    ])
    this.#fromF32(logits, 'logits')
    const opsets = { '': 18, 'com.microsoft': 1 }
    const model: TinyModel = { ...graph.parts(), ...this.#signature(), opsets }
    return { graph: Buffer.from(encodeOnnx(model)), data: graph.data() }
  }

  /** Matrices as ONNX multiplies them: [in, out]. */
  #addWeights(): void {
    for (const { name, shape, values } of tinyLlamaWeights()) {
      const [rows = 1, columns = 1] = shape
      const isMatrix = shape.length === 2 && name !== 'model.embed_tokens.weight'
      if (!isMatrix) {
        this.#graph.weight(name, 'f32', shape, f32(values))
        continue
      }
      const turned = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? 0)
      this.#graph.weight(name, 'f32', [columns, rows], f32(turned))
    }
  }

  #norm(x: string, weight: string): string {
    const { node, ints } = this.#graph
    const mean = node('ReduceMean', [node('Mul', [x, x]), ints([-1])])
    const root = node('Sqrt', [node('Add', [mean, this.#graph.floats([1e-5])])])
    return node('Mul', [node('Div', [x, root]), weight])
  }

  /** cos, sin `[M, headDim]` and the mask `[M, T]`. */
  #rotation(): { cos: string; sin: string; mask: string } {
    const { node, ints, floats } = this.#graph
    const ids = node('Reshape', [this.#positionIds(), ints([-1, 1])])
    const positions = node('Cast', [ids], { to: { int: 1 } })
    const angles = node('Mul', [positions, floats(frequencies())])
    const both = node('Concat', [angles, angles], { axis: { int: 1 } })
    const total = node('Gather', [node('Shape', ['attention_mask']), ints([1], [])])
    const zero = ints([0], [])
    const wideTotal = node('Cast', [total], { to: { int: 7 } })
    const keys = node('Cast', [node('Range', [zero, wideTotal, ints([1], [])])], { to: { int: 1 } })
    const isLater = node('Greater', [keys, positions])
    const mask = node('Where', [isLater, floats([-1e9], []), floats([0], [])])
    return { cos: node('Cos', [both]), sin: node('Sin', [both]), mask: this.#maskOf(mask) }
  }

  #positionIds(): string {
    if (!this.#shape.forgetsPositions) return 'position_ids'
    const { node, ints } = this.#graph
    const count = node('Gather', [node('Shape', ['input_ids']), ints([1], [])])
    return node('Range', [ints([0], []), count, ints([1], [])])
  }

  /** Zero once there is a past, for a graph that was traced wrongly. */
  #maskOf(mask: string): string {
    if (!this.#shape.masksOnlyWithoutPast) return mask
    const { node, ints, floats } = this.#graph
    const past = node('Gather', [node('Shape', ['past_key_values.0.key']), ints([2], [])])
    const hasPast = node('Greater', [past, ints([0], [])])
    return node('Where', [hasPast, floats([0], []), mask])
  }

  #primitive(
    x: string,
    layer: number,
    { cos, sin, mask }: { cos: string; sin: string; mask: string },
  ): string {
    const { node, ints, floats } = this.#graph
    const project = (name: string, heads: number): string => {
      const flat = node('MatMul', [x, `model.layers.${layer}.self_attn.${name}.weight`])
      const split = node('Reshape', [flat, ints([1, -1, heads, HEAD_DIM])])
      return node('Transpose', [split], { perm: { ints: [0, 2, 1, 3] } })
    }
    const rotate = (value: string): string => {
      const [low = '', high = ''] = this.#graph.split(value, 3, [HEAD_DIM / 2, HEAD_DIM / 2])
      const turned = node('Concat', [node('Neg', [high]), low], { axis: { int: 3 } })
      return node('Add', [node('Mul', [value, cos]), node('Mul', [turned, sin])])
    }
    const query = rotate(project('q_proj', HEADS))
    const key = this.#append(`${layer}.key`, rotate(project('k_proj', KV_HEADS)))
    const value = this.#append(`${layer}.value`, project('v_proj', KV_HEADS))
    const shared = ints([0, 0, 1, 1])
    const keys = node('Gather', [key, shared], { axis: { int: 1 } })
    const values = node('Gather', [value, shared], { axis: { int: 1 } })
    const products = node('MatMul', [
      query,
      node('Transpose', [keys], { perm: { ints: [0, 1, 3, 2] } }),
    ])
    const scaled = node('Mul', [products, floats([HEAD_DIM ** -0.5])])
    const weights = node('Softmax', [node('Add', [scaled, mask])], { axis: { int: -1 } })
    const heads = node('Transpose', [node('MatMul', [weights, values])], {
      perm: { ints: [0, 2, 1, 3] },
    })
    return node('Reshape', [heads, ints([1, -1, HEADS * HEAD_DIM])])
  }

  /** The past with new rows behind it, which is also the present. */
  #append(name: string, rows: string): string {
    const { node } = this.#graph
    const past = this.#toF32(`past_key_values.${name}`)
    const all = node('Concat', [past, rows], { axis: { int: 2 } })
    this.#fromF32(all, `present.${name}`)
    return all
  }

  #grouped(x: string, layer: number): string {
    const { node, ints } = this.#graph
    const project = (name: string): string =>
      node('MatMul', [x, `model.layers.${layer}.self_attn.${name}.weight`])
    const count = node('ReduceSum', ['attention_mask', ints([1])], { keepdims: { int: 0 } })
    const wide = node('Cast', [count], { to: { int: 7 } })
    const lengths = node('Cast', [node('Sub', [wide, ints([1])])], { to: { int: 6 } })
    const extent = node('Gather', [node('Shape', ['attention_mask']), ints([1], [])])
    const total = node('Cast', [extent], { to: { int: 6 } })
    this.#addCaches()
    return this.#graph.attention({
      inputs: [
        project('q_proj'),
        project('k_proj'),
        project('v_proj'),
        `past_key_values.${layer}.key`,
        `past_key_values.${layer}.value`,
        lengths,
        total,
        'cos_cache',
        'sin_cache',
      ],
      presents: [`present.${layer}.key`, `present.${layer}.value`],
      numHeads: HEADS,
      numKvHeads: KV_HEADS,
    })
  }

  #addCaches(): void {
    const angles = Array.from({ length: CONTEXT }, (_, p) => frequencies().map((f) => p * f)).flat()
    const shape = [CONTEXT, HEAD_DIM / 2]
    this.#graph.weight('cos_cache', 'f32', shape, f32(angles.map(Math.cos)))
    this.#graph.weight('sin_cache', 'f32', shape, f32(angles.map(Math.sin)))
  }

  #lastRows(x: string): string {
    const { node, ints } = this.#graph
    const { logits, indices } = this.#shape
    if (logits === 'all') return x
    const asked = node(
      'Reshape',
      [logits === 'last' ? ints([1]) : 'num_logits_to_keep', ints([1])],
      {},
    )
    const wide = indices === 'i32' ? node('Cast', [asked], { to: { int: 7 } }) : asked
    const start = node('Neg', [logits === 'last' ? asked : wide])
    return node('Slice', [x, start, ints([2 ** 31 - 1]), ints([1])])
  }

  #toF32(name: string): string {
    return this.#shape.type === 'f32' ? name : this.#graph.node('Cast', [name], { to: { int: 1 } })
  }

  #fromF32(value: string, name: string): void {
    if (this.#shape.type === 'f32') this.#graph.named('Identity', [value], name)
    else this.#graph.named('Cast', [value], name, { to: { int: 10 } })
  }

  #signature(): Pick<TinyModel, 'inputs' | 'outputs'> {
    const { type, indices, logits, attention, hasCacheBranch } = this.#shape
    const cache = (name: string, extent: string, dtype: TinyType): TinyValue[] =>
      LAYERS.flatMap((layer) =>
        ['key', 'value'].map((part) => ({
          name: `${name}.${layer}.${part}`,
          dtype,
          shape: ['batch_size', KV_HEADS, extent, HEAD_DIM],
        })),
      )
    const index = (name: string, extent: string | number): TinyValue => ({
      name,
      dtype: indices,
      shape: ['batch_size', extent],
    })
    const rows = logits === 'last' ? 1 : logits === 'asked' ? 'num_logits' : 'sequence_length'
    const extra: TinyValue[] = []
    if (attention === 'primitive') extra.push(index('position_ids', 'sequence_length'))
    if (logits === 'asked') extra.push({ name: 'num_logits_to_keep', dtype: indices, shape: [] })
    if (hasCacheBranch) extra.push({ name: 'use_cache_branch', dtype: 'bool', shape: [1] })
    return {
      inputs: [
        index('input_ids', this.#shape.tokens ?? 'sequence_length'),
        index('attention_mask', 'total_length'),
        ...extra,
        ...cache('past_key_values', 'past_length', type),
      ],
      outputs: [
        { name: 'logits', dtype: type, shape: ['batch_size', rows, VOCAB] },
        ...cache('present', 'total_length', type),
      ],
    }
  }
}

function frequencies(): readonly number[] {
  const theta = 5000
  return Array.from({ length: HEAD_DIM / 2 }, (_, i) => theta ** ((-2 * i) / HEAD_DIM))
}
