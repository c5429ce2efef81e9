/** What every executor says of itself once it is made. */

import type { Executor, LoadedAdapters } from '../engine/executor.ts'

export interface ExecutorFacts {
  /** Kernel family, such as `avx512-vnni`; `onnxruntime` for stock operators. */
  readonly kernels: string
  readonly ortVersion: string
  readonly weightsBytes: number
  /** Mapped from the pack cache, packed into it and mapped, or in memory of the process alone. */
  readonly weightsHeldAs: 'mapped' | 'packed' | 'memory'
  readonly kvBytesPerToken: number
}

/** Time of one kind of node since the profile was switched on. */
export interface OperatorTime {
  readonly operator: string
  /** A weight's shape, or ''. */
  readonly detail: string
  readonly calls: number
  readonly microseconds: number
}

/** An adapter to be read. */
export interface AdapterSource {
  /** 1 ≤ slot. */
  readonly slot: number
  /** Local folder, as PEFT saves it. */
  readonly folder: string
  /** What its files must have, see `digestAdapter`. */
  readonly digest: string
  readonly maxRank: number
}

export interface AdapterSlots extends LoadedAdapters {
  /**
   * Read an adapter into a slot that no sequence uses; sequences may, once it resolves. Steps go on meanwhile.
   *
   * @throws ServingError CHECKPOINT_*, EXECUTION_ADAPTER_*, NATIVE_BAD_WEIGHT; the slot is empty then
   */
  load(adapter: AdapterSource): Promise<void>
  /** Free a slot that no sequence uses; an empty one stays empty. */
  unload(slot: number): void
}

/** An executor as it is opened: the engine's contract, and what loading and tests want besides. */
export interface OpenedExecutor extends Executor {
  readonly facts: ExecutorFacts
  readonly adapters: AdapterSlots | null
  /** [maxLogitsRows * vocabSize] f32, raw; row r belongs to `logitsRows[r]` of the last step. */
  readonly logits: Float32Array
  /**
   * What was measured by operator since the last call; measuring goes on or not. Absent where operators are not ours.
   * `step` is the whole step, and `sampling` a part of it.
   */
  switchProfile?(isOn: boolean): readonly OperatorTime[]
}
