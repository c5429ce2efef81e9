/** A checkpoint that is only an index: metadata, and tensors without bytes. */

import { ServingError } from '../../src/base/errors.ts'
import type { Checkpoint, MetadataValue, TensorInfo } from '../../src/checkpoint/checkpoint.ts'

export interface CheckpointIndex extends Checkpoint {
  readonly metadata: Map<string, MetadataValue>
  readonly tensors: Map<string, TensorInfo>
}

/** @param members - of `config.json`, or GGUF keys; `undefined` leaves one out */
export function checkpointIndex(
  kind: Checkpoint['kind'],
  members: Readonly<Record<string, unknown>>,
  shapes: Readonly<Record<string, readonly number[]>> = {},
): CheckpointIndex {
  const file = kind === 'gguf' ? '/nowhere/model.gguf' : '/nowhere/config.json'
  const metadata = new Map(
    Object.entries(members)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, metadataOf(value)]),
  )
  const tensors = new Map(
    Object.entries(shapes).map(([name, shape]): [string, TensorInfo] => [
      name,
      { name, format: 'F32', shape, file, offset: 0, byteLength: 0 },
    ]),
  )
  return { kind, files: [file], metadata, tensors, totalTensorBytes: 0 }
}

export function metadataOf(value: unknown): MetadataValue {
  if (Array.isArray(value)) return value.map(metadataOf)
  if (typeof value !== 'object' || value === null) return value as MetadataValue
  return new Map(Object.entries(value).map(([key, member]) => [key, metadataOf(member)]))
}

/** The index with every tensor that the checkpoint's architecture asks for, one refusal after another. */
export function withAskedTensors(
  checkpoint: CheckpointIndex,
  check: (checkpoint: Checkpoint) => void,
): CheckpointIndex {
  const file = checkpoint.files[0] ?? ''
  for (let asked = 0; asked < 1000; asked++) {
    try {
      check(checkpoint)
      return checkpoint
    } catch (error) {
      if (!(error instanceof ServingError) || error.code !== 'MODEL_TENSOR_MISSING') throw error
      const { tensor, expected } = error.details
      const name = String(tensor)
      const shape: number[] = JSON.parse(String(expected))
      checkpoint.tensors.set(name, { name, format: 'F32', shape, file, offset: 0, byteLength: 0 })
    }
  }
  throw new Error('more tensors than a tiny model has')
}
