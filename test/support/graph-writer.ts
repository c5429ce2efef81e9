/** Puts an ONNX graph together node by node: gives each value a name and keeps its weights, inside or beside the file. */

import { f32 } from './safetensors-writer.ts'
import type { TinyAttribute, TinyModel, TinyNode, TinyTensor, TinyType } from './tiny-onnx.ts'

type Attributes = Readonly<Record<string, TinyAttribute>>

export interface GroupedAttention {
  readonly inputs: readonly string[]
  readonly presents: readonly string[]
  readonly numHeads: number
  readonly numKvHeads: number
}

export class GraphWriter {
  readonly #dataFile: string | null
  readonly #nodes: TinyNode[] = []
  readonly #tensors = new Map<string, TinyTensor>()
  readonly #data: Buffer[] = []
  #offset = 0

  /** @param dataFile - where weights go; `null` = into the graph */
  constructor(dataFile: string | null) {
    this.#dataFile = dataFile
  }

  /** Add a node of one output; returns the output's name. */
  readonly node = (
    operator: string,
    inputs: readonly string[],
    attributes: Attributes = {},
  ): string => this.named(operator, inputs, `${operator}_${this.#nodes.length}`, attributes)

  /** Constants, small ones: always in the graph. */
  readonly ints = (
    values: readonly number[],
    shape: readonly number[] = [values.length],
  ): string => {
    const data = Buffer.alloc(8 * values.length)
    for (const [index, value] of values.entries()) data.writeBigInt64LE(BigInt(value), 8 * index)
    return this.#constant('i64', shape, data)
  }

  readonly floats = (
    values: readonly number[],
    shape: readonly number[] = [values.length],
  ): string => this.#constant('f32', shape, f32(values))

  named(
    operator: string,
    inputs: readonly string[],
    output: string,
    attributes: Attributes = {},
  ): string {
    const name = `node_${this.#nodes.length}`
    this.#nodes.push({ operator, name, inputs, outputs: [output], attributes, domain: '' })
    return output
  }

  split(value: string, axis: number, sizes: readonly number[]): readonly string[] {
    const name = `node_${this.#nodes.length}`
    const outputs = sizes.map((_, index) => `${name}_${index}`)
    const inputs = [value, this.ints(sizes)]
    const attributes = { axis: { int: axis } }
    this.#nodes.push({ operator: 'Split', name, inputs, outputs, attributes, domain: '' })
    return outputs
  }

  attention({ inputs, presents, numHeads, numKvHeads }: GroupedAttention): string {
    const name = `node_${this.#nodes.length}`
    this.#nodes.push({
      operator: 'GroupQueryAttention',
      name,
      inputs,
      outputs: [name, ...presents],
      attributes: {
        num_heads: { int: numHeads },
        kv_num_heads: { int: numKvHeads },
        do_rotary: { int: 1 },
      },
      domain: 'com.microsoft',
    })
    return name
  }

  /** A weight, once however often it is added. */
  weight(name: string, dtype: TinyType, shape: readonly number[], data: Buffer): void {
    if (this.#tensors.has(name)) return
    if (this.#dataFile === null) {
      this.#tensors.set(name, { name, dtype, shape, data })
      return
    }
    const place = { location: this.#dataFile, offset: this.#offset, length: data.length }
    this.#tensors.set(name, { name, dtype, shape, data: place })
    this.#data.push(data)
    this.#offset += data.length
  }

  parts(): Required<Pick<TinyModel, 'nodes' | 'initializers'>> {
    return { nodes: this.#nodes, initializers: [...this.#tensors.values()] }
  }

  data(): Buffer {
    return Buffer.concat(this.#data)
  }

  #constant(dtype: TinyType, shape: readonly number[], data: Buffer): string {
    const name = `constant_${this.#tensors.size}`
    this.#tensors.set(name, { name, dtype, shape, data })
    return name
  }
}
