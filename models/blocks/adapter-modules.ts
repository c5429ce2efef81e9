/**
 * The modules of a decoder that an adapter may name, with the stored tensor that each one's matrix lies in. Adapters call
 * modules as Hugging Face's folders do, whatever kind of checkpoint the base comes as.
 *
 *   model.layers.3.self_attn.q_proj ──▶ blk.3.attn_q.weight, rows in another order
 *
 * Reads no bytes. A1 A tensor that is here is a matrix of the checkpoint.
 */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { ModelConfig } from '../model-config.ts'
import type { AdapterModules } from '../model-definition.ts'
import { type NameTables, type Part, TensorNames } from './tensor-names.ts'

export interface AdapterNaming {
  readonly names: NameTables
  /** Converters to GGUF put the two halves of q's and k's heads into pairs. */
  readonly isPairedInGguf: boolean
}

export function adapterModules(
  checkpoint: Checkpoint,
  config: ModelConfig,
  { names: tables, isPairedInGguf }: AdapterNaming,
): AdapterModules {
  const names = new TensorNames(checkpoint, tables[checkpoint.kind])
  const { prefix, layers, parts } = tables.safetensors
  const isPaired = isPairedInGguf && checkpoint.kind === 'gguf'
  const modules = new Map<string, { tensor: string; outputOrder: Int32Array | null }>()
  const orders = {
    attn_q: isPaired ? pairedOrder(config.numHeads, config.headDim) : null,
    attn_k: isPaired ? pairedOrder(config.numKvHeads, config.headDim) : null,
  }
  for (let layer = 0; layer < config.numLayers; layer++) {
    for (const [key, name] of Object.entries(parts)) {
      const part = key as Part
      if (!names.has(part)) continue
      const tensor = names.part(layer, part, 'weight')
      if (checkpoint.tensors.get(tensor)?.shape.length !== 2) continue
      const outputOrder = part === 'attn_q' || part === 'attn_k' ? orders[part] : null
      const module = `${layers}.${layer}.${name}`
      // Without the prefix where the adapter was trained on the model without its head.
      modules.set(`${prefix}${module}`, { tensor, outputOrder })
      modules.set(module, { tensor, outputOrder })
    }
  }
  return modules
}

/** Where each row of a head's halves lies among pairs: i of the first half at 2 i, of the second at 2 i + 1. */
function pairedOrder(numHeads: number, headDim: number): Int32Array {
  const half = headDim / 2
  return Int32Array.from({ length: numHeads * headDim }, (_, row) => {
    const inHead = row % headDim
    const place = inHead < half ? 2 * inHead : 2 * (inHead - half) + 1
    return row - inHead + place
  })
}
