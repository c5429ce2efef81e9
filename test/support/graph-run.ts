/**
 * Runs small graphs in a real session: tensors made in the test, a graph built from them, lowered, loaded and stepped
 * once. Its last value's rows come back instead of logits, so that one operator can be looked at alone.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Activations } from '../../native/binding.ts'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import { nativeWeight } from '../../src/execution/native-weights.ts'
import type { GraphNode, GraphValue } from '../../src/graph/graph.ts'
import { GraphBuilder } from '../../src/graph/graph-builder.ts'
import { lowerForCpu } from '../../src/graph/lower-cpu.ts'
import { seededRandom } from './seeded-random.ts'
import { BLOCK_SIZE, binding, MAX_BLOCKS_PER_SEQ, tinyOptions } from './tiny-model.ts'

/** F32 tensors of one file, by name, with their values. A name that is added again is the tensor that it was. */
export class TensorFile {
  readonly values = new Map<string, Float32Array>()
  readonly #infos = new Map<string, TensorInfo>()
  readonly #file: string
  readonly #parts: Buffer[] = []
  #bytes = 0

  constructor(folder: string, name: string) {
    this.#file = join(folder, name)
  }

  add(name: string, shape: readonly number[], values: ArrayLike<number>): TensorInfo {
    const known = this.#infos.get(name)
    if (known !== undefined) return known
    const data = Float32Array.from(values)
    this.values.set(name, data)
    return this.addBytes(name, 'F32', shape, Buffer.from(data.buffer))
  }

  /** A tensor as it is stored. */
  addBytes(
    name: string,
    format: TensorInfo['format'],
    shape: readonly number[],
    bytes: Buffer,
  ): TensorInfo {
    this.#parts.push(bytes)
    const offset = this.#bytes
    const byteLength = bytes.length
    this.#bytes += byteLength
    const info: TensorInfo = { name, format, shape, file: this.#file, offset, byteLength }
    this.#infos.set(name, info)
    return info
  }

  /** A tensor that was added before. */
  info(name: string): TensorInfo {
    const info = this.#infos.get(name)
    if (info === undefined) throw new Error(`no tensor ${name}`)
    return info
  }

  /** Values about normal, the same for the same name. */
  random(name: string, ...shape: number[]): TensorInfo {
    const random = seededRandom([...name].reduce((sum, c) => sum * 31 + c.charCodeAt(0), 7) | 0)
    const size = shape.reduce((product, extent) => product * extent, 1)
    const value = () => (random.below(20_001) - 10_000) / 10_000
    return this.add(name, shape, Array.from({ length: size }, value))
  }

  write(): void {
    writeFileSync(this.#file, Buffer.concat(this.#parts))
  }
}

export interface GraphRun {
  readonly tensors: TensorFile
  readonly build: (builder: GraphBuilder) => GraphValue
  /** One sequence, all rows wanted. */
  readonly tokens: readonly number[]
  /** Each node before it is lowered. */
  readonly change?: (node: GraphNode) => GraphNode
  readonly threads?: number
  readonly activations?: Activations
}

/** @returns the rows of the value that `build` made */
export async function runGraph(run: GraphRun): Promise<number[][]> {
  const { tensors, build, tokens, threads = 2, activations = 'f32', change = (node) => node } = run
  const builder = new GraphBuilder()
  const graph = builder.finish(builder.gatherRows(build(builder)), 64)
  const { onnx, weights, kvLayers } = lowerForCpu({ ...graph, nodes: graph.nodes.map(change) })
  const { vocabSize } = graph
  tensors.write()
  const model = new (binding().Model)(
    tinyOptions({ vocabSize, kvLayers: [...kvLayers], threads, activations }),
  )
  try {
    await model.loadWeights(weights.map(nativeWeight))
    await model.createSession(onnx)
    const { buffers } = model
    for (const [row, token] of tokens.entries()) {
      buffers.tokenIds[row] = token
      buffers.positions[row] = row
      buffers.slotMapping[row] = BLOCK_SIZE + row
      buffers.logitsRows[row] = row
      buffers.samplerSlots[row] = -1
      buffers.targetIds[row] = -1
      buffers.topLogprobCounts[row] = -1
    }
    buffers.queryStarts.set([0, tokens.length])
    buffers.contextLengths[0] = tokens.length
    for (let block = 0; block < MAX_BLOCKS_PER_SEQ; block++) buffers.blockTables[block] = block + 1
    await model.step(tokens.length, 1, tokens.length)
    return tokens.map((_, row) => [
      ...buffers.logits.subarray(row * vocabSize, (row + 1) * vocabSize),
    ])
  } finally {
    model.dispose()
  }
}
