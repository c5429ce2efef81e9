/**
 * What an ONNX file says of itself without being run: versions, operators, inputs and outputs, weights, and which other
 * files hold them. Reads a `ModelProto`'s structure and steps over the weights' bytes.
 *
 * Subgraphs (the branches of merged decoders) are followed to MAX_DEPTH. Knows no decoder's conventions.
 * Source: onnx.proto3 (field numbers).
 */

import {
  delimited,
  type GraphParts,
  integerOf,
  nameOf,
  type OnnxValue,
  type StoredWeights,
} from './graph-parts.ts'
import { readTensor } from './graph-tensors.ts'
import { readValueInfo } from './graph-values.ts'
import type { WireField, WireRange, WireReader } from './wire-reader.ts'

export interface OnnxGraph {
  readonly irVersion: number
  readonly producer: string
  /** Version by domain; `''` is ONNX's own. */
  readonly opsets: ReadonlyMap<string, number>
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** Nodes by operator, subgraphs included: `com.microsoft:GroupQueryAttention` or `MatMul`. */
  readonly operators: ReadonlyMap<string, number>
  readonly hasInt8Products: boolean
  /** Largest first. */
  readonly weights: readonly StoredWeights[]
  /** Bytes that the graph needs of each file beside it, by name. */
  readonly externalFiles: ReadonlyMap<string, number>
}

const MAX_DEPTH = 8
const INT8_ACCURACY = 4
const MAX_VALUES = 16_384
const MAX_KINDS = 4096

/**
 * @throws ServingError CHECKPOINT_BAD_FIELD, CHECKPOINT_TRUNCATED, CHECKPOINT_TOO_LARGE, those of reading
 *
 * Cost: one pass over the fields, some 50 ms for a decoder of 30 layers; no weight is read.
 */
export function readGraphFile(reader: WireReader): OnnxGraph {
  const parts: GraphParts = {
    irVersion: 0,
    producer: '',
    opsets: new Map(),
    inputs: [],
    outputs: [],
    operators: new Map(),
    hasInt8Products: false,
    weights: new Map(),
    externalFiles: new Map(),
    initializers: new Set(),
    hasGraph: false,
  }
  for (const field of reader.fields({ start: 0, end: reader.size }, 'the model')) {
    if (field.number === 1) parts.irVersion = integerOf(reader, field, 'the IR version')
    else if (field.number === 2) parts.producer = nameOf(reader, field, 'the producer')
    else if (field.number === 7) {
      if (parts.hasGraph) throw reader.bad(field.start, 'the graph', 'one graph', 'a second one')
      parts.hasGraph = true
      readGraph(reader, delimited(reader, field, 'the graph'), parts, 0)
    } else if (field.number === 8) readOpset(reader, field, parts)
  }
  if (!parts.hasGraph) throw reader.bad(reader.size, 'the graph', 'a graph', 'none')
  return {
    ...parts,
    inputs: parts.inputs.filter(({ name }) => !parts.initializers.has(name)),
    weights: [...parts.weights.values()].sort((a, b) => b.bytes - a.bytes),
  }
}

function readOpset(reader: WireReader, field: WireField, parts: GraphParts): void {
  let domain = ''
  let version = 0
  for (const part of reader.fields(delimited(reader, field, 'an opset'), 'an opset')) {
    if (part.number === 1) domain = nameOf(reader, part, 'the domain of an opset')
    if (part.number === 2) version = integerOf(reader, part, 'the version of an opset')
  }
  if (parts.opsets.size >= MAX_KINDS) {
    throw reader.bad(field.start, 'the opsets', `at most ${MAX_KINDS}`, 'more')
  }
  parts.opsets.set(domain === 'ai.onnx' ? '' : domain, version)
}

function readGraph(reader: WireReader, range: WireRange, parts: GraphParts, depth: number): void {
  if (depth > MAX_DEPTH) {
    throw reader.bad(range.start, 'a subgraph', `at most ${MAX_DEPTH} levels`, 'more')
  }
  for (const field of reader.fields(range, 'a graph')) {
    if (field.number === 1) {
      readNode(reader, delimited(reader, field, 'a node'), parts, depth)
    } else if (field.number === 5) {
      const name = readTensor(reader, delimited(reader, field, 'a weight'), parts)
      if (depth === 0) parts.initializers.add(name)
    } else if (depth === 0 && (field.number === 11 || field.number === 12)) {
      const values = field.number === 11 ? parts.inputs : parts.outputs
      if (values.length >= MAX_VALUES) {
        throw reader.bad(field.start, 'inputs or outputs', `at most ${MAX_VALUES}`, 'more')
      }
      values.push(readValueInfo(reader, delimited(reader, field, 'an input or output')))
    }
  }
}

function readNode(reader: WireReader, range: WireRange, parts: GraphParts, depth: number): void {
  let operator = ''
  let domain = ''
  for (const field of reader.fields(range, 'a node')) {
    if (field.number === 4) operator = nameOf(reader, field, 'the operator of a node')
    else if (field.number === 7) domain = nameOf(reader, field, 'the domain of a node')
    else if (field.number === 5) {
      readAttribute(reader, delimited(reader, field, 'an attribute'), parts, depth)
    }
  }
  const key = domain === '' || domain === 'ai.onnx' ? operator : `${domain}:${operator}`
  const count = parts.operators.get(key) ?? 0
  if (count === 0 && parts.operators.size >= MAX_KINDS) {
    throw reader.bad(range.start, 'the operators', `at most ${MAX_KINDS} kinds`, 'more')
  }
  parts.operators.set(key, count + 1)
}

/** Tensors and subgraphs inside of an attribute, and the one integer that says how products are computed. */
function readAttribute(
  reader: WireReader,
  range: WireRange,
  parts: GraphParts,
  depth: number,
): void {
  let name = ''
  let integer = 0
  for (const field of reader.fields(range, 'an attribute')) {
    if (field.number === 1) name = nameOf(reader, field, 'the name of an attribute')
    if (field.number === 3) integer = integerOf(reader, field, 'an attribute')
    if (field.number === 5 || field.number === 10) {
      readTensor(reader, delimited(reader, field, 'a constant'), parts)
    } else if (field.number === 6 || field.number === 11) {
      readGraph(reader, delimited(reader, field, 'a subgraph'), parts, depth + 1)
    }
  }
  if (name === 'accuracy_level' && integer === INT8_ACCURACY) parts.hasInt8Products = true
}
