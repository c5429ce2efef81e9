/**
 * Opens the second checkpoint of an engine, and divides the KV memory: as many tokens for one model as for the other.
 * Owns nothing once it has returned.
 */

import { kvLayersOf } from '../../models/model-config.ts'
import { definitionOf } from '../../models/registry.ts'
import { kvBytesPerToken } from '../base/kv-dtype.ts'
import type { Checkpoint, OpenedCheckpoint } from '../checkpoint/checkpoint.ts'
import { openCheckpoint } from '../checkpoint/open-checkpoint.ts'
import { workerError } from './errors.ts'
import type { EngineOptions } from './messages.ts'
import { type ExecutorOpening, type OpeningListeners, openExecutor } from './open-executor.ts'

export interface DraftOpening {
  /** What is left for the model's own KV. */
  readonly kvMemoryBytes: number
  open(listeners: OpeningListeners): Promise<ExecutorOpening>
}

/** @throws ServingError of the checkpoint and models rooms; WORKER_DRAFT_EXPORTED */
export async function planDraftOpening(
  target: OpenedCheckpoint,
  options: EngineOptions,
): Promise<DraftOpening | null> {
  const { draft, kvDtype, kvMemoryBytes } = options
  if (draft === undefined) return null
  const checkpoint = await openCheckpoint(draft.checkpointPath, { skipsVocabulary: true })
  if (checkpoint.kind === 'onnx' || target.kind === 'onnx') {
    const which = target.kind === 'onnx' ? 'the model' : 'the draft model'
    throw workerError('WORKER_DRAFT_EXPORTED', { details: { which } })
  }
  const bytesOf = (one: Checkpoint): number =>
    kvBytesPerToken(kvLayersOf(definitionOf(one).readConfig(one)), kvDtype)
  const [own, other] = [bytesOf(target), bytesOf(checkpoint)]
  const ownBytes = Math.floor(kvMemoryBytes * (own / (own + other)))
  const { packs: _, weights: __, ...common } = options
  const draftOptions = { ...common, ...draft, kvMemoryBytes: kvMemoryBytes - ownBytes }
  return {
    kvMemoryBytes: ownBytes,
    open: (listeners) => openExecutor(checkpoint, draftOptions, listeners),
  }
}
