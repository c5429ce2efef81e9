/**
 * The paged executor: one `NativeModel` behind the engine's `Executor`. Owns that model, from weights to `close`.
 *
 * Does not know schedulers, architectures or processes. One JavaScript thread; `execute` computes on the model's own.
 * Invariants:
 * X1 `arrays` are views of native memory with the lengths that `limits` say; nothing is copied on the way in or out.
 *    `sequenceSlots` alone is not: no native kernel asks for it.
 * X2 Nothing but a ServingError leaves: the addon's plain errors are turned into the product's.
 */

import type { NativeModel } from '../../native/binding.ts'
import { nativeServingError } from '../../native/errors.ts'
import { loadNative, ortLibraryPath } from '../../native/loader.ts'
import { invariant } from '../base/errors.ts'
import type { BatchArrays, BatchLimits, KvBlocks } from '../engine/executor.ts'
import type { GraphWeight, KvLayer } from '../graph/graph.ts'
import type { SamplingParams } from '../sampling/sampling-params.ts'
import type { AdapterTargets } from './adapter-plan.ts'
import type { AdapterSlots, ExecutorFacts, OpenedExecutor, OperatorTime } from './executor-facts.ts'
import { loadWeights, type PackOptions } from './load-weights.ts'
import { type MemoryPlanInput, planMemory } from './memory-plan.ts'
import { NativeAdapters } from './native-adapters.ts'
import { weightBytes } from './native-weights.ts'
import { ortVersion } from './ort-version.ts'
import { samplerSpec } from './sampler-spec.ts'

export interface NativeExecutorOptions extends Omit<MemoryPlanInput, 'kvLayers'> {
  /** A graph lowered for the CPU. */
  readonly onnx: Uint8Array
  readonly weights: readonly GraphWeight[]
  readonly kvLayers: readonly KvLayer[]
  /** Compute threads, ≥ 1. */
  readonly threads: number
  readonly activations: 'f32' | 'bf16' | 'int8'
  /** What adapters may change; absent = nothing, and none are taken. */
  readonly adapterTargets?: AdapterTargets
  /** Where packed weights are kept; absent = in memory only. */
  readonly packs?: PackOptions | undefined
  /** As planned; absent = about as many as are stored. */
  readonly packedBytes?: number
  /** Called with 0 … 1 while weights are packed. */
  readonly onProgress?: (fraction: number) => void
  /** For people. */
  readonly onWarning?: (message: string) => void
}

export class NativeExecutor implements OpenedExecutor {
  readonly capabilities = {
    supportsPrefixReuse: true,
    supportsDrafts: true,
    isThreadCountInvariant: true,
    answersWhileComputing: true,
  }
  readonly kvBlocks: KvBlocks
  readonly adapters: AdapterSlots | null
  readonly limits: BatchLimits
  readonly arrays: BatchArrays
  /** [maxLogitsRows * vocabSize] f32, raw; row r belongs to `logitsRows[r]` of the last step. */
  readonly logits: Float32Array
  readonly facts: ExecutorFacts
  readonly #model: NativeModel

  private constructor(
    model: NativeModel,
    limits: BatchLimits,
    facts: ExecutorFacts,
    adapters: AdapterSlots | null,
  ) {
    const { buffers } = model
    const isWhole =
      buffers.tokenIds.length === limits.maxNumBatchedTokens &&
      buffers.blockTables.length === limits.maxNumSeqs * limits.maxBlocksPerSeq &&
      buffers.logits.length === limits.maxLogitsRows * limits.vocabSize
    invariant(isWhole, 'X1', 'the native buffers have other sizes than the limits')
    this.#model = model
    this.limits = limits
    this.arrays = { ...buffers, sequenceSlots: new Int32Array(limits.maxNumSeqs) }
    this.logits = buffers.logits
    this.facts = facts
    this.kvBlocks = {
      blockBytes: model.kvBlockBytes(),
      copyBlocks: (pairs) => translated(() => model.copyBlocks(pairs)),
      readBlock: (blockId, into) => translated(() => model.readBlock(blockId, into)),
      writeBlock: (blockId, from) => translated(() => model.writeBlock(blockId, from)),
    }
    this.adapters = adapters
  }

  /**
   * Load the addon, pack the weights and build the session.
   *
   * @throws ServingError EXECUTION_* and NATIVE_*; nothing stays allocated then
   */
  static async open(options: NativeExecutorOptions): Promise<NativeExecutor> {
    const { limits, kvBytesPerToken } = planMemory(options)
    const native = loadNative()
    const ortLibrary = ortLibraryPath()
    const model = translated(() => {
      const { threads, activations, kvDtype, kvLayers } = options
      return new native.Model({ ...limits, ortLibrary, threads, activations, kvDtype, kvLayers })
    })
    try {
      const { kernels } = native.capabilities()
      const { weights, onProgress, onWarning } = options
      const storedBytes = weights.reduce((sum, weight) => sum + weightBytes(weight), 0)
      const heldAs = await loadWeights(model, {
        ...{ weights, kernels, onProgress, onWarning },
        packs: options.packs ?? null,
        packedBytes: options.packedBytes ?? storedBytes,
        nowMs: Date.now,
      })
      await model.createSession(options.onnx)
      const facts = {
        kernels,
        weightsHeldAs: heldAs,
        ortVersion: ortVersion(ortLibrary),
        weightsBytes: model.memory().weightsBytes,
        kvBytesPerToken,
      }
      const { adapterTargets } = options
      const adapters = adapterTargets ? new NativeAdapters(model, adapterTargets) : null
      return new NativeExecutor(model, limits, facts, adapters)
    } catch (cause) {
      model.dispose()
      throw nativeServingError(cause)
    }
  }

  addSequence(
    slot: number,
    params: SamplingParams,
    choice: number,
    promptIds: Int32Array,
    outputIds: Int32Array,
  ): void {
    const spec = samplerSpec(params, { choice, promptIds, outputIds })
    translated(() => this.#model.setSampler(slot, spec))
  }

  removeSequence(slot: number): void {
    translated(() => this.#model.clearSampler(slot))
  }

  async execute(numTokens: number, numSeqs: number, numLogitsRows: number): Promise<void> {
    try {
      await this.#model.step(numTokens, numSeqs, numLogitsRows)
    } catch (cause) {
      throw nativeServingError(cause)
    }
  }

  /** For calibration, between steps: sum up the inputs of these weights; see `NativeModel.observe`. */
  observe(names: readonly string[]): void {
    translated(() => this.#model.observe(names))
  }

  /** Xᵀ·X of an observed weight, [k][k]. */
  moments(name: string): Float32Array {
    return translated(() => this.#model.moments(name))
  }

  switchProfile(isOn: boolean): readonly OperatorTime[] {
    return translated(() => this.#model.switchProfile(isOn))
  }

  /** Waits for a step under way; the arrays must not be touched afterwards. Idempotent. */
  async close(): Promise<void> {
    this.#model.dispose()
  }
}

function translated<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    throw nativeServingError(cause)
  }
}
