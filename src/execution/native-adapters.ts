/**
 * The adapters of a native model, by slot: reads one's matrices, checks them, and hands them to the model, which lets the
 * steps see them at once when all are there. Owns which slots are taken; steps go on meanwhile.
 *
 * Invariants:
 * S1 A slot is loaded as a whole or not at all; what failed leaves nothing.
 * S2 The bytes that are used are the bytes whose digest was asked for: each is hashed as it is read, and an adapter whose
 *    files have changed since is refused.
 */

import { createHash } from 'node:crypto'
import type { NativeAdapterMatrix, NativeModel } from '../../native/binding.ts'
import { nativeServingError } from '../../native/errors.ts'
import { adapterDigest } from '../checkpoint/adapter/adapter-digest.ts'
import {
  type AdapterCheckpoint,
  type AdapterTensor,
  readAdapter,
} from '../checkpoint/adapter/adapter-reader.ts'
import { type OpenFile, withFile } from '../checkpoint/safetensors/read-file.ts'
import { type AdapterTargets, type PlannedDelta, planAdapter } from './adapter-plan.ts'
import { executionError } from './errors.ts'
import type { AdapterSlots, AdapterSource } from './executor-facts.ts'

type Native = Pick<NativeModel, 'stageAdapter' | 'publishAdapter' | 'removeAdapter'>

export class NativeAdapters implements AdapterSlots {
  readonly #model: Native
  readonly #targets: AdapterTargets
  readonly #loaded = new Set<number>()

  constructor(model: Native, targets: AdapterTargets) {
    this.#model = model
    this.#targets = targets
  }

  has(slot: number): boolean {
    return this.#loaded.has(slot)
  }

  /** Cost: reads the files; about as many bytes stay in memory. */
  async load({ slot, folder, digest, maxRank }: AdapterSource): Promise<void> {
    this.unload(slot)
    try {
      const adapter = await readAdapter(folder)
      const plan = planAdapter(adapter, this.#targets, maxRank)
      const weightsDigest = await this.#stage(slot, adapter, plan)
      const got = adapterDigest(adapter.configDigest, weightsDigest)
      if (got !== digest) {
        const details = { folder, expected: digest, got }
        throw executionError('EXECUTION_ADAPTER_CHANGED', { details })
      }
      this.#model.publishAdapter(slot)
      this.#loaded.add(slot)
    } catch (cause) {
      this.#remove(slot)
      throw nativeServingError(cause)
    }
  }

  unload(slot: number): void {
    this.#loaded.delete(slot)
    this.#remove(slot)
  }

  #remove(slot: number): void {
    try {
      this.#model.removeAdapter(slot)
    } catch (cause) {
      throw nativeServingError(cause)
    }
  }

  /** Read tensors in the order of the file, which they fill without a gap (S2). @returns sha256 of all that was read */
  #stage(slot: number, adapter: AdapterCheckpoint, plan: readonly PlannedDelta[]): Promise<string> {
    return withFile(adapter.file, async (opened) => {
      const tensors = plan.flatMap(({ module }) => [module.down, module.up])
      tensors.sort((a, b) => a.offset - b.offset)
      const hash = createHash('sha256')
      hash.update(await opened.read(0, tensors[0]?.offset ?? 0))
      const deltas = new Map(plan.map((delta) => [delta.module.up, delta]))
      const halves = new Map<AdapterTensor, Buffer>()
      const otherHalf = new Map(
        plan.flatMap(({ module: { down, up } }) => [
          [down, up],
          [up, down],
        ]),
      )
      for (const tensor of tensors) {
        const bytes = await readTensor(opened, tensor)
        hash.update(bytes)
        halves.set(tensor, bytes)
        const other = otherHalf.get(tensor)
        if (other === undefined || !halves.has(other)) continue
        const delta = deltas.get(tensor) ?? deltas.get(other)
        if (delta !== undefined) this.#stageDelta(slot, adapter.file, delta, halves)
        halves.delete(tensor)
        halves.delete(other)
      }
      return hash.digest('hex')
    })
  }

  #stageDelta(
    slot: number,
    file: string,
    { module, target, outputOrder }: PlannedDelta,
    halves: ReadonlyMap<AdapterTensor, Buffer>,
  ): void {
    try {
      this.#model.stageAdapter(slot, {
        weight: target.weight,
        down: matrix(module.down, halves),
        up: matrix(module.up, halves),
        inputs: target.inputs,
        scale: module.scale,
        firstOutput: target.first,
        ...(outputOrder === null ? {} : { outputOrder }),
      })
    } catch (cause) {
      if ((cause as { code?: unknown }).code !== 'NATIVE_BAD_WEIGHT')
        throw nativeServingError(cause)
      const reason = (cause as Error).message
      const details = { file, module: module.name, reason }
      throw executionError('EXECUTION_ADAPTER_VALUES', { cause, details })
    }
  }
}

function readTensor(opened: OpenFile, { offset, byteLength }: AdapterTensor): Promise<Buffer> {
  return opened.read(offset, byteLength)
}

function matrix(
  tensor: AdapterTensor,
  halves: ReadonlyMap<AdapterTensor, Buffer>,
): NativeAdapterMatrix {
  const { format, shape } = tensor
  return { format, rows: shape[0], bytes: halves.get(tensor) ?? new Uint8Array() }
}
