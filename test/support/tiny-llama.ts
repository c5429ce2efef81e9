/**
 * A llama of two layers with random weights, as a weight file and a graph of `ingot` operators: small enough for
 * thousands of steps, whole enough that every operator of the table runs.
 */

import { writeFileSync } from 'node:fs'
import type { NativeModelOptions, NativeWeight, NativeWeightPart } from '../../native/binding.ts'
import { type SeededRandom, seededRandom } from './seeded-random.ts'
import { encodeOnnx, type TinyAttribute, type TinyNode, type TinyValue } from './tiny-onnx.ts'

export const HIDDEN = 64
export const VOCAB = 96
const HEADS = 4
const KV_HEADS = 2
const HEAD_DIM = 32
const INNER = 96
export const LAYERS = 2

export type TinyFormat = 'F32' | 'Q4_0'

/** The model options that belong to this llama. */
export const TINY_SHAPE: Pick<NativeModelOptions, 'kvLayers' | 'vocabSize'> = {
  kvLayers: Array.from({ length: LAYERS }, () => ({ numKvHeads: KV_HEADS, headDim: HEAD_DIM })),
  vocabSize: VOCAB,
}

/** Write the weight file and describe what is in it. Norms are F32; linears and embedding are in `format`. */
export function writeTinyWeights(file: string, format: TinyFormat, seed = 1): NativeWeight[] {
  const random = seededRandom(seed)
  const chunks: Buffer[] = []
  const weights: NativeWeight[] = []
  let offset = 0
  function part(format: TinyFormat, shape: readonly number[]): NativeWeightPart {
    const count = shape.reduce((product, extent) => product * extent, 1)
    const data = format === 'F32' ? randomF32(count, random) : randomQ4(count, random)
    chunks.push(data)
    const placed = { file, offset, byteLength: data.length, format, shape }
    offset += data.length
    return placed
  }
  function linear(name: string, shapes: readonly (readonly number[])[]): void {
    weights.push({ name, kind: 'linear', parts: shapes.map((shape) => part(format, shape)) })
  }
  function vector(name: string, length: number): void {
    weights.push({ name, kind: 'vector', parts: [part('F32', [length])] })
  }
  linear('embed', [[VOCAB, HIDDEN]])
  for (let layer = 0; layer < LAYERS; layer++) {
    vector(`norm1.${layer}`, HIDDEN)
    const kv = KV_HEADS * HEAD_DIM
    // Three stored tensors joined into one, as q, k and v are.
    linear(`qkv.${layer}`, [
      [HEADS * HEAD_DIM, HIDDEN],
      [kv, HIDDEN],
      [kv, HIDDEN],
    ])
    vector(`qkvBias.${layer}`, (HEADS + 2 * KV_HEADS) * HEAD_DIM)
    linear(`o.${layer}`, [[HIDDEN, HEADS * HEAD_DIM]])
    vector(`norm2.${layer}`, HIDDEN)
    linear(`gateUp.${layer}`, [
      [INNER, HIDDEN],
      [INNER, HIDDEN],
    ])
    linear(`down.${layer}`, [[HIDDEN, INNER]])
  }
  vector('normOut', HIDDEN)
  const frequencies = Float32Array.from(
    { length: HEAD_DIM / 2 },
    (_, i) => 10_000 ** ((-2 * i) / HEAD_DIM),
  )
  weights.push({ name: 'rope', kind: 'constant', values: frequencies })
  writeFileSync(file, Buffer.concat(chunks))
  return weights
}

/**
 * Nodes of the llama; tests break them one by one.
 *
 * @param fused - layers whose MLP is one node; the others' are the three whose bits it has
 */
export function tinyNodes(fused: readonly number[] = [1]): TinyNode[] {
  const nodes: TinyNode[] = [
    {
      operator: 'Embedding',
      name: 'embed',
      inputs: ['tokenIds'],
      outputs: ['x0'],
      attributes: { weight: { text: 'embed' } },
    },
    {
      operator: 'RmsNorm',
      name: 'norm1.0',
      inputs: ['x0'],
      outputs: ['n0'],
      attributes: norm('norm1.0'),
    },
  ]
  for (let layer = 0; layer < LAYERS; layer++) {
    const attributes: Record<string, TinyAttribute> = {
      layer: { int: layer },
      numHeads: { int: HEADS },
      numKvHeads: { int: KV_HEADS },
      headDim: { int: HEAD_DIM },
      scale: { float: HEAD_DIM ** -0.5 },
      ropeStyle: { text: layer === 0 ? 'half' : 'interleaved' },
      ropeFrequencies: { text: 'rope' },
    }
    const indices = ['positions', 'slotMapping', 'queryStarts', 'contextLengths', 'blockTables']
    const last = layer === LAYERS - 1
    nodes.push(
      linear(`qkv.${layer}`, `n${layer}`, `qkv${layer}`, `qkvBias.${layer}`),
      {
        operator: 'PagedAttention',
        name: `attention.${layer}`,
        inputs: [`qkv${layer}`, ...indices],
        outputs: [`a${layer}`],
        attributes,
      },
      linear(`o.${layer}`, `a${layer}`, `o${layer}`),
      {
        operator: 'AddRmsNorm',
        name: `norm2.${layer}`,
        inputs: [`o${layer}`, `x${layer}`],
        outputs: [`h${layer}`, `m${layer}`],
        attributes: norm(`norm2.${layer}`),
      },
      ...mlp(layer, fused.includes(layer)),
    )
    if (last)
      nodes.push({
        operator: 'Add',
        name: 'add',
        inputs: [`d${layer}`, `h${layer}`],
        outputs: ['y'],
      })
    else
      nodes.push({
        operator: 'AddRmsNorm',
        name: `norm1.${layer + 1}`,
        inputs: [`d${layer}`, `h${layer}`],
        outputs: [`x${layer + 1}`, `n${layer + 1}`],
        attributes: norm(`norm1.${layer + 1}`),
      })
  }
  nodes.push(
    { operator: 'GatherRows', name: 'gather', inputs: ['y', 'logitsRows'], outputs: ['last'] },
    {
      operator: 'RmsNorm',
      name: 'normOut',
      inputs: ['last'],
      outputs: ['normed'],
      attributes: norm('normOut'),
    },
    linear('embed', 'normed', 'logits', undefined, 'head'),
  )
  return nodes
}

export const TINY_INPUTS: readonly TinyValue[] = [
  { name: 'tokenIds', dtype: 'i32', shape: ['T'] },
  { name: 'positions', dtype: 'i32', shape: ['T'] },
  { name: 'slotMapping', dtype: 'i32', shape: ['T'] },
  { name: 'queryStarts', dtype: 'i32', shape: ['B+1'] },
  { name: 'contextLengths', dtype: 'i32', shape: ['B'] },
  { name: 'blockTables', dtype: 'i32', shape: ['B', 'M'] },
  { name: 'logitsRows', dtype: 'i32', shape: ['L'] },
]

export const TINY_OUTPUTS: readonly TinyValue[] = [
  { name: 'logits', dtype: 'f32', shape: ['L', VOCAB] },
]

/** The llama serialized; `nodes` replaces its nodes. */
export function tinyOnnx(nodes: readonly TinyNode[] = tinyNodes()): Uint8Array {
  return encodeOnnx({ nodes, inputs: TINY_INPUTS, outputs: TINY_OUTPUTS })
}

function linear(
  weight: string,
  input: string,
  output: string,
  bias?: string,
  name = weight,
): TinyNode {
  const attributes: Record<string, TinyAttribute> = { weight: { text: weight } }
  if (bias !== undefined) attributes.bias = { text: bias }
  return { operator: 'Linear', name, inputs: [input], outputs: [output], attributes }
}

function mlp(layer: number, isOne: boolean): TinyNode[] {
  const [x, y] = [`m${layer}`, `d${layer}`]
  const kind = { text: 'silu' }
  if (isOne) {
    const attributes = {
      gateUp: { text: `gateUp.${layer}` },
      down: { text: `down.${layer}` },
      kind,
    }
    return [{ operator: 'GatedMlp', name: `mlp.${layer}`, inputs: [x], outputs: [y], attributes }]
  }
  return [
    linear(`gateUp.${layer}`, x, `g${layer}`),
    {
      operator: 'GatedActivation',
      name: `gated.${layer}`,
      inputs: [`g${layer}`],
      outputs: [`s${layer}`],
      attributes: { kind },
    },
    linear(`down.${layer}`, `s${layer}`, y),
  ]
}

function norm(weight: string): Record<string, TinyAttribute> {
  return { weight: { text: weight }, epsilon: { float: 1e-5 } }
}

function randomF32(count: number, random: SeededRandom): Buffer {
  return Buffer.from(Float32Array.from({ length: count }, () => random.next() - 0.5).buffer)
}

/** Q4_0 blocks of 32: an f16 scale (0.05), then sixteen bytes of two nibbles. */
function randomQ4(count: number, random: SeededRandom): Buffer {
  const out = Buffer.alloc((count / 32) * 18)
  for (let at = 0; at < out.length; at++) out[at] = random.below(256)
  for (let at = 0; at < out.length; at += 18) out.writeUInt16LE(0x2a66, at)
  return out
}
