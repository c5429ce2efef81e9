/** What every executor says of itself once it is made. */

import type { Executor } from '../engine/executor.ts'

export interface ExecutorFacts {
  /** Kernel family, such as `avx512-vnni`; `onnxruntime` for stock operators. */
  readonly kernels: string
  readonly ortVersion: string
  readonly weightsBytes: number
  /** Mapped from the pack cache, packed into it and mapped, or in memory of the process alone. */
  readonly weightsHeldAs: 'mapped' | 'packed' | 'memory'
  readonly kvBytesPerToken: number
}

/** An executor as it is opened: the engine's contract, and what loading and tests want besides. */
export interface OpenedExecutor extends Executor {
  readonly facts: ExecutorFacts
  /** [maxLogitsRows * vocabSize] f32, raw; row r belongs to `logitsRows[r]` of the last step. */
  readonly logits: Float32Array
}
