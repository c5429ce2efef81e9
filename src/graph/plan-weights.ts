/**
 * From a choice of weights to a format for each tensor of a graph, with the reason. Pure: same graph and choice, same
 * plan; it never looks at the machine, so a model answers alike on all of them.
 *
 *   a tensor's wish = the last override that matches its name, else head / embedding, else the format of all
 *
 * Owns the rules; reads no bytes. A format of the choice becomes a storage format of the kernels:
 *   f32 F32 · bf16 BF16 · f16 F16 · int8 Q8_0 · int4 Q4_0 symmetric, Q4_1 asymmetric
 * Invariants:
 * P1 A table that is both embedding and head has one format. P2 An override that matches nothing is refused.
 */

import { TENSOR_FORMATS, type TensorFormat } from '../base/tensor-format.ts'
import { matchesPattern, type WeightFormat, type WeightsChoice } from '../base/weights-choice.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import { graphError } from './errors.ts'
import type { Graph, GraphWeight, MatrixLayout, TensorTarget } from './graph.ts'
import { packedBytes, quantizedBytes } from './packed-size.ts'

export type WeightRole = 'embedding' | 'head' | 'tied' | 'router' | 'linear'

export interface PlannedTensor {
  readonly name: string
  readonly role: WeightRole
  readonly stored: TensorInfo['format']
  /** What the kernels read. */
  readonly packed: TensorInfo['format']
  readonly packedBytes: number
  /** Why it is not what was wished for; `null` when it is. */
  readonly keptBecause: string | null
}

export interface WeightPlan {
  /** The graph's weights, each with its targets. */
  readonly weights: readonly GraphWeight[]
  readonly tensors: readonly PlannedTensor[]
  /** All weights once packed, vectors and constants too. */
  readonly packedBytes: number
  /** What was left open and is decided here. */
  readonly decided: {
    readonly head: Decision
    readonly embedding: Decision
    readonly group: Decision
    readonly symmetry: Decision
  }
}

export interface Decision {
  readonly value: string
  /** `null` when the choice itself said it. */
  readonly reason: string | null
}

/** Formats of at most 4.6 bits a weight: writing them as int4 anew would only lose. */
const FOUR_BITS = 4.75
const BLOCK = 32

/** @throws ServingError GRAPH_WEIGHTS_UNMATCHED, GRAPH_WEIGHTS_TIED, GRAPH_WEIGHTS_UNSUPPORTED */
export function planWeights(graph: Graph, choice: WeightsChoice): WeightPlan {
  const roles = rolesOf(graph)
  const isTied = [...roles.values()].includes('tied')
  const decided = decide(choice, isTied)
  const tensors: PlannedTensor[] = []
  let bytes = 0
  const weights = graph.weights.map((weight): GraphWeight => {
    if (weight.kind === 'constant') {
      bytes += weight.values.byteLength
      return weight
    }
    if (weight.kind !== 'linear') {
      for (const { shape } of weight.tensors) bytes += 4 * numberOf(shape)
      return weight
    }
    const role = roles.get(weight.name) ?? 'linear'
    const targets = weight.tensors.map((tensor) => {
      const wish = wishFor(tensor.name, role, choice, decided)
      const width = inputsOf(tensor, weight.layout)
      const { target, keptBecause } = wish === null ? ROUTER : targetOf(tensor, width, wish, choice)
      const { name, format: stored } = tensor
      const packed = target?.format ?? unturned(stored, weight.layout)
      const size = packedSize(tensor, packed, width)
      tensors.push({ name, role, stored, packed, packedBytes: size, keptBecause })
      bytes += size
      return target
    })
    return { ...weight, targets }
  })
  for (const { pattern, format } of choice.overrides) {
    if (tensors.some(({ name }) => matchesPattern(pattern, name))) continue
    const names = tensors.slice(0, 3).map(({ name }) => name)
    throw graphError('GRAPH_WEIGHTS_UNMATCHED', {
      param: '--weights-override',
      details: { override: `${pattern}=${format}`, names: names.join(', ') },
    })
  }
  refuseUnused(choice, tensors)
  return { weights, tensors, packedBytes: bytes, decided }
}

/** What no tensor heeds is a mistake. */
function refuseUnused({ group, symmetry }: WeightsChoice, tensors: readonly PlannedTensor[]): void {
  const has = (...formats: TensorInfo['format'][]) =>
    tensors.some(({ packed }) => formats.includes(packed))
  const next = 'leave it out, or give --weights int4'
  if (symmetry === 'asymmetric' && !has('Q4_1')) {
    const expected = 'int4 weights with asymmetric blocks, int8 is symmetric'
    const details = { expected, got: 'no tensor in int4', next }
    throw graphError('GRAPH_WEIGHTS_UNSUPPORTED', { param: '--weights-symmetry', details })
  }
  if ((group !== null || symmetry !== null) && !has('Q4_0', 'Q4_1', 'Q8_0')) {
    const param = group === null ? '--weights-symmetry' : '--weights-group'
    const details = {
      expected: `int8 or int4 weights with ${param}`,
      got: 'no tensor in them',
      next,
    }
    throw graphError('GRAPH_WEIGHTS_UNSUPPORTED', { param, details })
  }
}

/** What each matrix is for, by the nodes that name it. The head is what the last matrix product multiplies with. */
function rolesOf(graph: Graph): ReadonlyMap<string, WeightRole> {
  const roles = new Map<string, WeightRole>()
  for (const { operator, attributes } of graph.nodes) {
    if (operator === 'Embedding') roles.set(String(attributes.weight), 'embedding')
  }
  for (const router of routersOf(graph)) roles.set(router, 'router')
  const head = graph.nodes.findLast(({ operator }) => operator === 'Linear')?.attributes.weight
  if (head !== undefined) {
    const name = String(head)
    roles.set(name, roles.has(name) ? 'tied' : 'head')
  }
  return roles
}

/** The weights whose products are a mixture's second input. */
function routersOf(graph: Graph): readonly string[] {
  const logits = new Set<string>()
  for (const { operator, inputs } of graph.nodes) {
    if (operator === 'Moe') logits.add(inputs[1] ?? '')
  }
  return graph.nodes
    .filter(({ outputs }) => outputs.some((output) => logits.has(output)))
    .map(({ attributes }) => String(attributes.weight))
}

function decide(choice: WeightsChoice, isTied: boolean): WeightPlan['decided'] {
  const { format, head, embedding, group, symmetry } = choice
  if (isTied && head !== null && embedding !== null && head !== embedding) {
    throw graphError('GRAPH_WEIGHTS_TIED', {
      param: '--weights-embedding',
      details: { head, embedding },
    })
  }
  const careful: WeightFormat = format === 'int4' ? 'int8' : format
  const why = format === 'int4' ? 'a small share of the bytes, and sensitive' : 'as all weights'
  const other = (mine: WeightFormat | null, theirs: WeightFormat | null): Decision => {
    if (mine !== null) return { value: mine, reason: null }
    if (isTied && theirs !== null) return { value: theirs, reason: 'one table is both' }
    return { value: careful, reason: why }
  }
  return {
    head: other(head, embedding),
    embedding: other(embedding, head),
    group:
      group === null
        ? { value: '32', reason: 'the block of the kernels; longer ones take no less memory' }
        : { value: String(group), reason: null },
    symmetry:
      symmetry === null
        ? { value: 'auto', reason: 'int8 symmetric, int4 with a minimum: a bit more, more exact' }
        : { value: symmetry, reason: null },
  }
}

function wishFor(
  name: string,
  role: WeightRole,
  choice: WeightsChoice,
  decided: WeightPlan['decided'],
): WeightFormat | null {
  const override = choice.overrides.findLast(({ pattern }) => matchesPattern(pattern, name))
  if (override !== undefined) return override.format
  if (role === 'linear') return choice.format
  if (role === 'router') return isCoarse(choice.format) ? null : choice.format
  return (role === 'embedding' ? decided.embedding : decided.head).value as WeightFormat
}

interface Chosen {
  readonly target: TensorTarget | null
  readonly keptBecause: string | null
}

/** At most, where codes are kept: zero points and an order that turn out to be plain are left out. */
function packedSize(
  { format, shape, quantization }: TensorInfo,
  packed: TensorInfo['format'],
  width: number,
): number {
  const rows = numberOf(shape) / width
  const isKept = quantization !== undefined && packed === format
  return isKept
    ? quantizedBytes(quantization, rows, width)
    : packedBytes(packed as TensorFormat, rows, width)
}

/** Fewer bits than stored numbers of any dense kind. */
function isCoarse(format: WeightFormat): boolean {
  return format === 'int8' || format === 'int4'
}

const ROUTER: Chosen = {
  target: null,
  keptBecause: 'a router is small, and another rounding is another choice of experts',
}
const KEPT: Chosen = { target: null, keptBecause: null }

/** The dimension that a matrix is multiplied along. */
function inputsOf({ shape }: TensorInfo, layout: MatrixLayout | undefined): number {
  return (layout === 'columns' ? shape[0] : shape.at(-1)) ?? 1
}

/** Blocks along the outputs are taken apart when a matrix is turned over. */
function unturned(
  stored: TensorInfo['format'],
  layout: MatrixLayout | undefined,
): TensorInfo['format'] {
  const isDense = stored === 'F32' || stored === 'F16' || stored === 'BF16'
  return layout === 'columns' && !isDense ? 'F32' : stored
}

function targetOf(
  tensor: TensorInfo,
  width: number,
  wish: WeightFormat,
  choice: WeightsChoice,
): Chosen {
  if (wish === 'source') return KEPT
  const { group, symmetry } = choice
  const format = storageFormat(wish, symmetry)
  const { blockWeights } = TENSOR_FORMATS[format]
  if (width % blockWeights !== 0) {
    const keptBecause = `rows of ${width} are not whole blocks of ${blockWeights}`
    return { target: null, keptBecause }
  }
  const isOpen = group === null && symmetry === null
  if (wish === 'int4' && isOpen && storedBits(tensor) < FOUR_BITS) {
    const isExact = tensor.format === 'Q4_0' || tensor.format === 'Q4_1'
    return { target: null, keptBecause: isExact ? null : 'stored in about 4 bits already' }
  }
  const isBlock = blockWeights === BLOCK
  const length = !isBlock || group === 'channel' ? null : (group ?? BLOCK)
  if (tensor.format === format && (!isBlock || length === BLOCK)) return KEPT
  return { target: { format, group: length }, keptBecause: null }
}

/** Of codes, with the scales of their blocks where these lie in one tensor. */
function storedBits({ format, quantization }: TensorInfo): number {
  if (quantization !== undefined) return quantization.codes.bits
  const { blockBytes, blockWeights } = TENSOR_FORMATS[format as TensorFormat]
  return (blockBytes * 8) / blockWeights
}

function storageFormat(
  wish: Exclude<WeightFormat, 'source'>,
  symmetry: WeightsChoice['symmetry'],
): TensorFormat {
  switch (wish) {
    case 'f32':
      return 'F32'
    case 'bf16':
      return 'BF16'
    case 'f16':
      return 'F16'
    case 'int8':
      return 'Q8_0'
    case 'int4':
      return symmetry === 'symmetric' ? 'Q4_0' : 'Q4_1'
  }
}

function numberOf(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}
