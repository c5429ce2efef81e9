/**
 * Builds a `Graph` one operator a call, in execution order. A call takes the values of earlier calls and returns its own.
 *
 * Owns the nodes, the weights and the KV layers until `finish`. Knows the operators' shapes; knows no architecture and
 * no execution provider.
 * Invariants:
 * G1 Node names and value names are unique; every input of a node was made before it.
 * G2 Widths agree: a node whose tensors and inputs do not fit is refused when it is added, by name.
 * G3 The same tensors in the same order are one weight, however many nodes name it (tied embeddings).
 */

import { invariant } from '../base/errors.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import type {
  AttributeValue,
  Graph,
  GraphNode,
  GraphValue,
  KvLayer,
  MatrixLayout,
} from './graph.ts'
import { GraphWeights } from './graph-weights.ts'
import { moeAttributes } from './moe-attributes.ts'
import type {
  ActivationKind,
  AttentionOptions,
  EmbeddingOptions,
  GatedMlpOptions,
  GatedOptions,
  JoinedTensors,
  LayerNormOptions,
  LinearOptions,
  MoeOptions,
  NormOptions,
  QkNormOptions,
  ScaleOptions,
} from './operator-options.ts'
import { expectMatrix, expectShape, rowsOf, widthOf } from './shapes.ts'

const INPUTS: readonly GraphValue[] = [
  { name: 'tokenIds', dtype: 'i32', shape: ['T'] },
  { name: 'positions', dtype: 'i32', shape: ['T'] },
  { name: 'slotMapping', dtype: 'i32', shape: ['T'] },
  { name: 'queryStarts', dtype: 'i32', shape: ['B+1'] },
  { name: 'contextLengths', dtype: 'i32', shape: ['B'] },
  { name: 'blockTables', dtype: 'i32', shape: ['B', 'M'] },
  { name: 'logitsRows', dtype: 'i32', shape: ['L'] },
]
const STEP_INPUTS = ['positions', 'slotMapping', 'queryStarts', 'contextLengths', 'blockTables']

export class GraphBuilder {
  readonly #nodes: GraphNode[] = []
  readonly #weights = new GraphWeights()
  readonly #kvLayers: KvLayer[] = []
  readonly #valueNames = new Set(INPUTS.map(({ name }) => name))
  readonly #numNamed = new Map<string, number>()

  /** Rows of a stored `[n, H]` table, times a scale → `[T, H]`. */
  embedding(table: TensorInfo, options: EmbeddingOptions = {}): GraphValue {
    const { scale = 1, ids = 'tokenIds' } = options
    const weight = this.#weights.linear([table])
    const attributes = { weight: weight.name, scale }
    return this.#node('embedding', 'Embedding', [ids], attributes, ['T', weight.width])
  }

  /** RMS norm of each row → the shape of `x`. */
  rmsNorm(x: GraphValue, weight: TensorInfo, options: NormOptions): GraphValue {
    const name = this.#nodeName('norm')
    const attributes = this.#normAttributes(name, x, weight, options)
    return this.#add(name, 'RmsNorm', [x.name], attributes, [['out', x.shape]])[0]
  }

  /** `x + residual` and its RMS norm, both of the shape of `x`. */
  addRmsNorm(
    x: GraphValue,
    residual: GraphValue,
    weight: TensorInfo,
    options: NormOptions,
  ): { sum: GraphValue; normed: GraphValue } {
    const name = this.#nodeName('add_norm')
    expectShape(name, residual.name, x.shape, residual.shape)
    const attributes = this.#normAttributes(name, x, weight, options)
    const inputs = [x.name, residual.name]
    const [sum, normed] = this.#add(name, 'AddRmsNorm', inputs, attributes, [
      ['sum', x.shape],
      ['normed', x.shape],
    ])
    invariant(normed !== undefined, 'G1', 'AddRmsNorm has two outputs')
    return { sum, normed }
  }

  /** Mean and variance norm of each row → the shape of `x`. */
  layerNorm(x: GraphValue, weight: TensorInfo, options: LayerNormOptions): GraphValue {
    const { epsilon, bias = null } = options
    const name = this.#nodeName('layer_norm')
    const attributes: Record<string, AttributeValue> = {
      weight: this.#vector(name, weight, widthOf(x)),
      epsilon,
    }
    if (bias !== null) attributes.bias = this.#vector(name, bias, widthOf(x))
    return this.#add(name, 'LayerNorm', [x.name], attributes, [['out', x.shape]])[0]
  }

  /** `qkv` with q and k normed and what lies behind them (v) as it was → the shape of `qkv`. */
  qkNorm(qkv: GraphValue, options: QkNormOptions): GraphValue {
    const { numHeads, numKvHeads, headDim, epsilon, weightOffset = 0, scope } = options
    const name = this.#nodeName('qk_norm')
    const least = (numHeads + numKvHeads) * headDim
    if (widthOf(qkv) < least) expectShape(name, qkv.name, [rowsOf(qkv), least], qkv.shape)
    const width = (heads: number) => (scope === 'head' ? headDim : heads * headDim)
    const attributes = {
      numHeads,
      numKvHeads,
      headDim,
      query: this.#vector(name, options.query, width(numHeads)),
      key: this.#vector(name, options.key, width(numKvHeads)),
      epsilon,
      weightOffset,
      scope,
    }
    return this.#add(name, 'QkNorm', [qkv.name], attributes, [['out', qkv.shape]])[0]
  }

  /** `a` · scale + `b`. */
  add(a: GraphValue, b: GraphValue, options: { readonly scale?: number } = {}): GraphValue {
    const name = this.#nodeName('add')
    expectShape(name, b.name, a.shape, b.shape)
    return this.#add(name, 'Add', [a.name, b.name], { ...options }, [['out', a.shape]])[0]
  }

  /** `x` · factor, softly capped. */
  scale(x: GraphValue, options: ScaleOptions): GraphValue {
    return this.#node('scale', 'Scale', [x.name], { ...options }, x.shape)
  }

  /** A nonlinearity on every value. */
  activation(x: GraphValue, kind: ActivationKind): GraphValue {
    return this.#node('activation', 'Activation', [x.name], { kind }, x.shape)
  }

  /**
   * `x` times the transposed rows of `tensors`, one below the other, plus `biases` joined likewise → `[R, N]`.
   *
   * @param biases - none, or vectors whose lengths add up to N
   */
  linear(
    x: GraphValue,
    tensors: readonly TensorInfo[],
    biases: readonly TensorInfo[] = [],
    { layout = 'rows' }: LinearOptions = {},
  ): GraphValue {
    const name = this.#nodeName('linear')
    const weight = this.#joined(name, widthOf(x), { weights: tensors, biases }, layout)
    const attributes: Record<string, AttributeValue> = { weight: weight.name }
    if (weight.bias !== null) attributes.bias = weight.bias
    const shape = [rowsOf(x), weight.rows] as const
    return this.#add(name, 'Linear', [x.name], attributes, [['out', shape]])[0]
  }

  /**
   * Causal attention over a KV layer of its own; `qkv` holds q, k and v side by side → `[T, numHeads * valueDim]`, or
   * `[L, …]` where the wanted rows alone attend.
   */
  pagedAttention(qkv: GraphValue, options: AttentionOptions): GraphValue {
    const { numHeads, numKvHeads, headDim, valueDim = headDim, isForWantedRows = false } = options
    const name = this.#nodeName('attention')
    const width = (numHeads + numKvHeads) * headDim + numKvHeads * valueDim
    expectShape(name, qkv.name, ['T', width], qkv.shape)
    const attributes = this.#attentionAttributes(name, options)
    this.#kvLayers.push({ numKvHeads, headDim, ...(valueDim !== headDim && { valueDim }) })
    const inputs = [qkv.name, ...STEP_INPUTS, ...(isForWantedRows ? ['logitsRows'] : [])]
    const shape = [isForWantedRows ? 'L' : 'T', numHeads * valueDim] as const
    return this.#add(name, 'PagedAttention', inputs, attributes, [['out', shape]])[0]
  }

  /** `gateUp` `[R, 2 I]` → kind(gate) · up, `[R, I]`, with what `options` say. */
  gatedActivation(gateUp: GraphValue, options: GatedOptions): GraphValue {
    const name = this.#nodeName('gated')
    const inner = Math.floor(widthOf(gateUp) / 2)
    expectShape(name, gateUp.name, [rowsOf(gateUp), 2 * inner], gateUp.shape)
    const shape = [rowsOf(gateUp), inner] as const
    return this.#add(name, 'GatedActivation', [gateUp.name], { ...options }, [['out', shape]])[0]
  }

  /** `x` through a gated MLP, down · unit(gateUp · x), in one node → `[R, N]`. */
  gatedMlp(x: GraphValue, { gateUp, down, unit, layout = 'rows' }: GatedMlpOptions): GraphValue {
    const name = this.#nodeName('mlp')
    const up = this.#joined(name, widthOf(x), gateUp, layout)
    const inner = Math.floor(up.rows / 2)
    expectShape(name, up.name, [2 * inner, widthOf(x)], [up.rows, widthOf(x)])
    const back = this.#joined(name, inner, down, layout)
    const attributes: Record<string, AttributeValue> = { gateUp: up.name, down: back.name, ...unit }
    if (up.bias !== null) attributes.gateUpBias = up.bias
    if (back.bias !== null) attributes.downBias = back.bias
    const shape = [rowsOf(x), back.rows] as const
    return this.#add(name, 'GatedMlp', [x.name], attributes, [['out', shape]])[0]
  }

  /** Columns `offset` … `offset + width` of each of `numHeads` equal groups of `x` → `[R, numHeads * width]`. */
  sliceHeads(
    x: GraphValue,
    options: { readonly numHeads: number; readonly offset: number; readonly width: number },
  ): GraphValue {
    const { numHeads, offset, width } = options
    const name = this.#nodeName('slice')
    const group = Math.max(Math.floor(widthOf(x) / numHeads), offset + width)
    expectShape(name, x.name, [rowsOf(x), numHeads * group], x.shape)
    const shape = [rowsOf(x), numHeads * width] as const
    return this.#add(name, 'SliceHeads', [x.name], { ...options }, [['out', shape]])[0]
  }

  /** `parts`, each of `numHeads` equal groups, joined group by group in order. */
  concatHeads(parts: readonly GraphValue[], numHeads: number): GraphValue {
    const [first, ...others] = parts
    invariant(first !== undefined, 'G1', 'there is something to join')
    let joined = first
    for (const part of others) {
      const name = this.#nodeName('concat')
      for (const side of [joined, part]) {
        const width = numHeads * Math.ceil(widthOf(side) / numHeads)
        expectShape(name, side.name, [rowsOf(first), width], side.shape)
      }
      const shape = [rowsOf(first), widthOf(joined) + widthOf(part)] as const
      const inputs = [joined.name, part.name]
      joined = this.#add(name, 'ConcatHeads', inputs, { numHeads }, [['out', shape]])[0]
    }
    return joined
  }

  /** A block-diagonal layer: each head's columns of `x` times a matrix of its own → `[R, numHeads * N]`. */
  headLinear(
    x: GraphValue,
    heads: readonly TensorInfo[],
    { layout = 'rows' }: LinearOptions = {},
  ): GraphValue {
    const name = this.#nodeName('head_linear')
    const numHeads = heads.length
    for (const head of heads) expectMatrix(name, head, layout, Math.ceil(widthOf(x) / numHeads))
    const members = heads.map((head) => [head])
    const { name: weight, rows, width } = this.#weights.family(members, layout)
    expectShape(name, x.name, [rowsOf(x), numHeads * width], x.shape)
    const shape = [rowsOf(x), numHeads * rows] as const
    return this.#add(name, 'HeadLinear', [x.name], { weight, numHeads }, [['out', shape]])[0]
  }

  /** Each row of `x` through the experts that `routerLogits` `[R, experts]` choose, summed by their gains. */
  moe(x: GraphValue, routerLogits: GraphValue, options: MoeOptions): GraphValue {
    const name = this.#nodeName('moe')
    const expected = [rowsOf(x), options.gateUp.weights.length]
    expectShape(name, routerLogits.name, expected, routerLogits.shape)
    const attributes = moeAttributes(name, widthOf(x), this.#weights, options)
    const inputs = [x.name, routerLogits.name]
    return this.#add(name, 'Moe', inputs, attributes, [['out', x.shape]])[0]
  }

  /** The rows of `x` whose logits are wanted → `[L, H]`. */
  gatherRows(x: GraphValue): GraphValue {
    const inputs = [x.name, 'logitsRows']
    return this.#node('gather', 'GatherRows', inputs, {}, ['L', widthOf(x)])
  }

  /** The graph whose logits are `[L, vocabSize]` rows of `logits`, which must come from the last node. */
  finish(logits: GraphValue, maxContextTokens: number): Graph {
    const last = this.#nodes.at(-1)
    invariant(last?.outputs[0] === logits.name, 'G1', 'the last node makes the logits')
    expectShape(last.name, logits.name, ['L', widthOf(logits)], logits.shape)
    this.#nodes[this.#nodes.length - 1] = { ...last, outputs: ['logits'] }
    const used = new Set(this.#nodes.flatMap(({ inputs }) => inputs))
    return {
      inputs: INPUTS.filter(({ name }) => used.has(name)),
      outputs: [{ ...logits, name: 'logits' }],
      nodes: this.#nodes,
      weights: this.#weights.all(),
      kvLayers: this.#kvLayers,
      vocabSize: widthOf(logits),
      maxContextTokens,
    }
  }

  #normAttributes(
    node: string,
    x: GraphValue,
    tensor: TensorInfo,
    { epsilon, weightOffset = 0 }: NormOptions,
  ): Record<string, AttributeValue> {
    return { weight: this.#vector(node, tensor, widthOf(x)), epsilon, weightOffset }
  }

  /** Matrices of `width` inputs, one below the other, and the vector of their biases. */
  #joined(
    node: string,
    width: number,
    { weights, biases = [] }: JoinedTensors,
    layout: MatrixLayout,
  ): { readonly name: string; readonly rows: number; readonly bias: string | null } {
    for (const tensor of weights) expectMatrix(node, tensor, layout, width)
    const { name, rows } = this.#weights.linear(weights, layout)
    if (biases.length === 0) return { name, rows, bias: null }
    const bias = this.#weights.vector(biases)
    expectShape(node, bias.name, [rows], [bias.width])
    return { name, rows, bias: bias.name }
  }

  /** A vector of this width, by its name. */
  #vector(node: string, tensor: TensorInfo, width: number): string {
    expectShape(node, tensor.name, [width], tensor.shape)
    return this.#weights.vector([tensor]).name
  }

  #attentionAttributes(node: string, options: AttentionOptions): Record<string, AttributeValue> {
    const { numHeads, numKvHeads, headDim, valueDim, scale, rope, window, softcap, sinks } = options
    const attributes: Record<string, AttributeValue> = {
      layer: this.#kvLayers.length,
      numHeads,
      numKvHeads,
      headDim,
      scale,
      ropeStyle: rope?.style ?? 'none',
    }
    if (rope !== null) {
      attributes.ropeFrequencies = this.#weights.constant('rope.frequencies', rope.frequencies)
      attributes.ropeScale = rope.scale ?? 1
      if (rope.offset !== undefined) attributes.ropeOffset = rope.offset
    }
    if (valueDim !== undefined) attributes.valueDim = valueDim
    if (window != null) attributes.window = window
    if (softcap != null) attributes.softcap = softcap
    if (sinks != null) {
      expectShape(node, sinks.name, [numHeads], sinks.shape)
      attributes.sinks = this.#weights.vector([sinks]).name
    }
    return attributes
  }

  #node(
    stem: string,
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>>,
    shape: GraphValue['shape'],
  ): GraphValue {
    return this.#add(this.#nodeName(stem), operator, inputs, attributes, [['out', shape]])[0]
  }

  #add(
    name: string,
    operator: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>>,
    outputs: readonly [output: string, shape: GraphValue['shape']][],
  ): [GraphValue, ...GraphValue[]] {
    for (const input of inputs) {
      invariant(this.#valueNames.has(input), 'G1', `${name} reads ${input}, which nothing makes`)
    }
    const values = outputs.map(
      ([output, shape]): GraphValue => ({ name: `${name}.${output}`, dtype: 'f32', shape }),
    )
    for (const value of values) this.#valueNames.add(value.name)
    const names = values.map((value) => value.name)
    this.#nodes.push({ name, operator, inputs, outputs: names, attributes })
    return values as [GraphValue, ...GraphValue[]]
  }

  /** `stem.0`, `stem.1` … in the order of the calls. */
  #nodeName(stem: string): string {
    const index = this.#numNamed.get(stem) ?? 0
    this.#numNamed.set(stem, index + 1)
    return `${stem}.${index}`
  }
}
