/**
 * An ONNX model as plain data, and its bytes. Only what a graph of custom operators needs: no initializers, no
 * functions, no subgraphs. Knows ONNX's field numbers, not Ingot's operators.
 *
 * Source: onnx/onnx.proto3 (field numbers); `irVersion` 10 is read by every ONNX Runtime since 1.18.
 */

import { ProtobufWriter } from './protobuf-writer.ts'

/** `kind` decides the protobuf field: ONNX tells 1.0 from 1, JavaScript does not. */
export interface OnnxAttribute {
  readonly name: string
  readonly kind: 'float' | 'integer' | 'text'
  readonly value: number | string
}

export interface OnnxNode {
  readonly name: string
  readonly operator: string
  readonly domain: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: readonly OnnxAttribute[]
}

export interface OnnxValue {
  readonly name: string
  readonly elementType: 'f32' | 'i32'
  /** A number, or the name of a dimension that changes from run to run. */
  readonly shape: readonly (number | string)[]
}

export interface OnnxModel {
  readonly producer: string
  readonly graphName: string
  readonly opsets: readonly { readonly domain: string; readonly version: number }[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  /** In an order in which each input has been made before. */
  readonly nodes: readonly OnnxNode[]
}

const IR_VERSION = 10
const ELEMENT_TYPES = { f32: 1, i32: 6 } as const // TensorProto.DataType
const ATTRIBUTE_TYPES = { float: 1, integer: 2, text: 3 } as const // AttributeProto.AttributeType

/** The bytes of a `ModelProto`. */
export function encodeModel(model: OnnxModel): Uint8Array {
  const writer = new ProtobufWriter().integer(1, IR_VERSION).text(2, model.producer)
  for (const { domain, version } of model.opsets) {
    writer.message(8, (opset) => opset.text(1, domain).integer(2, version))
  }
  writer.message(7, (graph) => {
    for (const node of model.nodes) graph.message(1, (message) => writeNode(message, node))
    graph.text(2, model.graphName)
    for (const value of model.inputs) graph.message(11, (message) => writeValue(message, value))
    for (const value of model.outputs) graph.message(12, (message) => writeValue(message, value))
  })
  return writer.finish()
}

function writeNode(writer: ProtobufWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.text(1, input)
  for (const output of node.outputs) writer.text(2, output)
  writer.text(3, node.name).text(4, node.operator)
  for (const attribute of node.attributes) {
    writer.message(5, (message) => writeAttribute(message, attribute))
  }
  writer.text(7, node.domain)
}

function writeAttribute(writer: ProtobufWriter, { name, kind, value }: OnnxAttribute): void {
  writer.text(1, name)
  if (kind === 'float') writer.float(2, Number(value))
  else if (kind === 'integer') writer.integer(3, Number(value))
  else writer.text(4, String(value))
  writer.integer(20, ATTRIBUTE_TYPES[kind])
}

/** ValueInfoProto → TypeProto → Tensor → TensorShapeProto → Dimension. */
function writeValue(writer: ProtobufWriter, { name, elementType, shape }: OnnxValue): void {
  writer.text(1, name).message(2, (type) =>
    type.message(1, (tensor) =>
      tensor.integer(1, ELEMENT_TYPES[elementType]).message(2, (tensorShape) => {
        for (const extent of shape) {
          tensorShape.message(1, (dimension) => {
            if (typeof extent === 'number') dimension.integer(1, extent)
            else dimension.text(2, extent)
          })
        }
      }),
    ),
  )
}
