/**
 * `Graph` → ONNX for the CPU: one node of domain `ingot` for each graph node, with the operators, attribute names and
 * attribute types of `native/README.md`. Another execution provider gets a file like this one.
 *
 * Owns nothing. Weights stay out of the protobuf (D3): they are handed on by name.
 */

import { graphError } from './errors.ts'
import type { Graph, GraphNode, GraphWeight, KvLayer } from './graph.ts'
import { encodeModel, type OnnxAttribute, type OnnxNode } from './onnx/model-proto.ts'

export const CPU_DOMAIN = 'ingot'
export const CPU_DOMAIN_VERSION = 1

export interface LoweredModel {
  /** A serialized `ModelProto`. */
  readonly onnx: Uint8Array
  readonly weights: readonly GraphWeight[]
  readonly kvLayers: readonly KvLayer[]
}

type AttributeKind = OnnxAttribute['kind']

const GATED = {
  kind: 'text',
  layout: 'text',
  limit: 'float',
  alpha: 'float',
  upOffset: 'float',
} as const

/** Attributes that each operator takes; those with a default in `native/README.md` may be absent. */
const OPERATORS: Readonly<Record<string, Readonly<Record<string, AttributeKind>>>> = {
  Embedding: { weight: 'text', scale: 'float' },
  RmsNorm: { weight: 'text', epsilon: 'float', weightOffset: 'float' },
  AddRmsNorm: { weight: 'text', epsilon: 'float', weightOffset: 'float' },
  LayerNorm: { weight: 'text', epsilon: 'float', bias: 'text' },
  QkNorm: {
    numHeads: 'integer',
    numKvHeads: 'integer',
    headDim: 'integer',
    query: 'text',
    key: 'text',
    epsilon: 'float',
    weightOffset: 'float',
    scope: 'text',
  },
  Add: { scale: 'float' },
  Scale: { factor: 'float', softcap: 'float' },
  Activation: { kind: 'text' },
  Linear: { weight: 'text', bias: 'text' },
  PagedAttention: {
    layer: 'integer',
    numHeads: 'integer',
    numKvHeads: 'integer',
    headDim: 'integer',
    scale: 'float',
    ropeStyle: 'text',
    ropeFrequencies: 'text',
    ropeScale: 'float',
    ropeOffset: 'integer',
    valueDim: 'integer',
    window: 'integer',
    softcap: 'float',
    sinks: 'text',
  },
  GatedMlp: {
    gateUp: 'text',
    gateUpBias: 'text',
    down: 'text',
    downBias: 'text',
    ...GATED,
  },
  GatedActivation: GATED,
  SliceHeads: { numHeads: 'integer', offset: 'integer', width: 'integer' },
  ConcatHeads: { numHeads: 'integer' },
  HeadLinear: { weight: 'text', numHeads: 'integer' },
  Moe: {
    numExperts: 'integer',
    topK: 'integer',
    scoring: 'text',
    normalize: 'integer',
    gainScale: 'float',
    correction: 'text',
    numGroups: 'integer',
    topGroups: 'integer',
    gateUp: 'text',
    gateUpBias: 'text',
    down: 'text',
    downBias: 'text',
    ...GATED,
  },
  GatherRows: {},
}

/** @throws ServingError GRAPH_NOT_LOWERABLE for an operator or attribute that the CPU does not have */
export function lowerForCpu(graph: Graph): LoweredModel {
  const onnx = encodeModel({
    producer: 'ingot',
    graphName: 'step',
    opsets: [{ domain: CPU_DOMAIN, version: CPU_DOMAIN_VERSION }],
    inputs: graph.inputs.map(({ name, dtype, shape }) => ({ name, elementType: dtype, shape })),
    outputs: graph.outputs.map(({ name, dtype, shape }) => ({ name, elementType: dtype, shape })),
    nodes: graph.nodes.map(lowerNode),
  })
  return { onnx, weights: graph.weights, kvLayers: graph.kvLayers }
}

function lowerNode(node: GraphNode): OnnxNode {
  const kinds = OPERATORS[node.operator]
  if (kinds === undefined) {
    throw notLowerable(node, `one of ${Object.keys(OPERATORS).join(', ')}`, node.operator)
  }
  const { name, operator, inputs, outputs } = node
  const attributes = Object.entries(node.attributes).map(([attribute, value]): OnnxAttribute => {
    const kind = kinds[attribute]
    const isFit =
      kind === 'text'
        ? typeof value === 'string'
        : typeof value === 'number' && (kind === 'float' || Number.isSafeInteger(value))
    if (kind === undefined || !isFit || typeof value === 'boolean') {
      const expected = kind === undefined ? `attributes ${Object.keys(kinds).join(', ')}` : kind
      throw notLowerable(node, expected, `${attribute} = ${value}`)
    }
    return { name: attribute, kind, value }
  })
  return { name, operator, domain: CPU_DOMAIN, inputs, outputs, attributes }
}

function notLowerable(node: GraphNode, expected: string, got: string): Error {
  return graphError('GRAPH_NOT_LOWERABLE', {
    details: { node: node.name, provider: 'cpu', expected, got },
  })
}
