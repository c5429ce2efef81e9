/**
 * What a quantized folder will hold, before a byte is computed: which matrices are quantized, which tensors stay, under
 * which names, and with which groups. Pure.
 *
 * O1 Embeddings and the head stay as they are (dense ones exactly, quantized ones in bf16): a small share of the bytes,
 *    and the readers expect no quantized embedding. O2 Vectors keep their type. O3 A matrix that the layout cannot hold
 *    stays dense, with the reason; a plan that would quantize none is refused.
 */

import type { Checkpoint, TensorInfo } from '../../checkpoint/checkpoint.ts'
import type { WeightPlan } from '../../graph/plan-weights.ts'
import { cliError } from '../errors.ts'
import type { Recipe, StoredTensor } from './compressed-layout.ts'
import { layoutOf } from './compressed-layout.ts'
import { huggingFaceName, rowOrder } from './gguf-llama.ts'

export interface QuantizedOutput {
  readonly tensor: TensorInfo
  /** Weight of the graph that it is a part of, whose inputs are observed. */
  readonly weight: string
  readonly module: string
  readonly size: readonly [rows: number, k: number]
  readonly order: Int32Array | null
}

export interface DenseOutput {
  readonly tensor: TensorInfo
  readonly stored: StoredTensor
  readonly order: Int32Array | null
}

export interface OutputPlan {
  readonly quantized: readonly QuantizedOutput[]
  readonly dense: readonly DenseOutput[]
  readonly stored: readonly StoredTensor[]
  /** Linear modules that stay dense; `quantization_config` names them. */
  readonly ignored: readonly string[]
  /** Matrices of layers that stay dense though others do not (O3). */
  readonly kept: readonly KeptMatrix[]
}

export interface KeptMatrix {
  readonly name: string
  readonly because: string
}

/** A matrix of the layers, or a stack of them. */
interface LayerTensor {
  readonly tensor: TensorInfo
  readonly weight: string
  readonly isTurned: boolean
}

const GROUPS = [128, 64, 32] as const

/** The longest group with which as many matrices are quantized as with any; `null` when none would be. */
export function autoGroup(plan: WeightPlan): 32 | 64 | 128 | null {
  const able = layerTensors(plan).filter((each) => keptBecause(each, 32) === null)
  if (able.length === 0) return null
  return GROUPS.find((group) => able.every((each) => keptBecause(each, group) === null)) ?? null
}

/** @throws ServingError CLI_CANNOT_QUANTIZE when every matrix would stay dense */
export function planOutput(checkpoint: Checkpoint, plan: WeightPlan, recipe: Recipe): OutputPlan {
  const quantized: QuantizedOutput[] = []
  const kept: KeptMatrix[] = []
  const ignored: string[] = []
  const isQuantized = new Set<string>()
  for (const each of layerTensors(plan)) {
    const { tensor, weight } = each
    const [rows = 0, k = 0] = tensor.shape
    const module = outputName(checkpoint, tensor.name).replace(/\.weight$/, '')
    const because = keptBecause(each, recipe.group)
    if (because !== null) {
      kept.push({ name: tensor.name, because })
      if (isLinearModule(each)) ignored.push(module)
      continue
    }
    const order = checkpoint.kind === 'gguf' ? rowOrder(checkpoint, tensor.name, rows) : null
    quantized.push({ tensor, weight, module, size: [rows, k], order })
    isQuantized.add(tensor.name)
  }
  if (quantized.length === 0) throw nothingToQuantize(kept, recipe.group, autoGroup(plan))
  const rest = [...checkpoint.tensors.values()].filter(({ name }) => !isQuantized.has(name))
  const dense = rest.map((tensor): DenseOutput => {
    const rows = tensor.shape[0] ?? 1
    const order = checkpoint.kind === 'gguf' ? rowOrder(checkpoint, tensor.name, rows) : null
    const name = outputName(checkpoint, tensor.name)
    return { tensor, stored: { name, dtype: denseType(tensor), shape: tensor.shape }, order }
  })
  const matrices = quantized.flatMap(({ module, size }) => layoutOf(module, size, recipe))
  return {
    quantized,
    dense,
    stored: [...matrices, ...dense.map(({ stored }) => stored)],
    ignored: ['lm_head', ...ignored],
    kept,
  }
}

/** One line for each reason, with the first matrix that has it. */
export function keptLines(kept: readonly KeptMatrix[]): string[] {
  const names = new Map<string, string[]>()
  for (const { name, because } of kept) names.set(because, [...(names.get(because) ?? []), name])
  return [...names].map(([because, [first = '', ...more]]) => {
    const which = more.length === 0 ? first : `${first} and ${more.length} more`
    return `${more.length + 1} left dense, ${because}: ${which}`
  })
}

/** Why a tensor of a layer stays dense; `null` when it is quantized. */
function keptBecause({ tensor, isTurned }: LayerTensor, group: number): string | null {
  const { name, shape } = tensor
  if (shape.length !== 2) return 'stored as a stack of matrices'
  if (isTurned) return 'stored with inputs as rows, which this layout has no word for'
  if (!name.endsWith('.weight')) return 'stored under a name that does not end in .weight'
  const width = shape[1] ?? 0
  return width % group === 0 ? null : `${width} inputs are no whole groups of ${group}`
}

function nothingToQuantize(
  [first]: readonly KeptMatrix[],
  group: number,
  fitting: number | null,
): Error {
  const expected = `a matrix in the layers, stored [out, in], whose inputs are whole groups of ${group}`
  const got =
    first === undefined ? 'none in any layer' : `none; the first, ${first.name}: ${first.because}`
  const next =
    fitting === null
      ? 'choose another model, or serve this one with --weights int8, which packs what it can at load'
      : `give --group ${fitting}`
  return cliError('CLI_CANNOT_QUANTIZE', { details: { expected, got, next } })
}

function layerTensors(plan: WeightPlan): LayerTensor[] {
  const roles = new Map(plan.tensors.map(({ name, role }) => [name, role]))
  return plan.weights.flatMap((weight) => {
    if (weight.kind !== 'linear') return []
    const isTurned = weight.layout === 'columns'
    return weight.tensors
      .filter(({ name }) => roles.get(name) === 'linear')
      .map((tensor) => ({ tensor, weight: weight.name, isTurned }))
  })
}

/** A module that readers would look for quantized, were it not named as ignored. */
function isLinearModule({ tensor, isTurned }: LayerTensor): boolean {
  return tensor.shape.length === 2 && !isTurned
}

function outputName({ kind }: Checkpoint, name: string): string {
  return kind === 'gguf' ? (huggingFaceName(name) ?? name) : name
}

function denseType({ format }: TensorInfo): StoredTensor['dtype'] {
  return format === 'F32' || format === 'F16' ? format : 'BF16'
}
