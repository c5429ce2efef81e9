/**
 * The executor for exported ONNX decoders: one graph on stock ONNX Runtime behind the engine's `Executor`, with the
 * sampler of the paged one. Owns session, sampler and the dense KV of each sequence.
 *
 * Sequences run one after the other, and each row in the run that `prompt-calls.ts` gives it, so an answer's bits do not
 * depend on its batch or on the scheduler's chunks (D5). Block tables are not followed: the KV of a sequence lies with its
 * sampler slot, from `addSequence` to `removeSequence`; blocks only count the memory.
 * Invariants:
 * X1 A run is computed once its last row is scheduled, or earlier when a logits row of it is wanted; rows behind the
 *    scheduled ones are prompt tokens that are known already.
 * X2 Nothing but a ServingError leaves.
 */

import type { NativeSampler } from '../../../native/binding.ts'
import { nativeServingError } from '../../../native/errors.ts'
import { loadNative, ortLibraryPath } from '../../../native/loader.ts'
import { invariant } from '../../base/errors.ts'
import type { ExportedDecoder } from '../../checkpoint/onnx/exported-decoder.ts'
import type { BatchArrays, BatchLimits } from '../../engine/executor.ts'
import type { SamplingParams } from '../../sampling/sampling-params.ts'
import type { ExecutorFacts, OpenedExecutor } from '../executor-facts.ts'
import { type MemoryPlanInput, planMemory } from '../memory-plan.ts'
import { ortVersion } from '../ort-version.ts'
import { samplerSpec } from '../sampler-spec.ts'
import { checkGraph, mostTokens } from './check-graph.ts'
import type { DenseKv } from './dense-kv.ts'
import { GraphSession } from './graph-session.ts'
import { callAt, type GraphCall, type PromptCalls, SINGLE_CALLS } from './prompt-calls.ts'

export interface ExportedExecutorOptions
  extends Omit<MemoryPlanInput, 'kvLayers' | 'kvDtype' | 'vocabSize'> {
  readonly decoder: ExportedDecoder
  /** Stored bytes of graph and weights. */
  readonly weightsBytes: number
  readonly threads: number
}

/** What runs in one sampler slot. */
interface SlotState {
  readonly promptIds: Int32Array
  /** Whether logits of every prompt row are wanted, so that a run gives all of them. */
  readonly wantsPromptLogits: boolean
  readonly calls: PromptCalls
  readonly kv: DenseKv
}

/** One sequence's part of a step. */
interface StepPart {
  readonly state: SlotState
  /** Row of the step at position 0: row = position + offset. */
  readonly offset: number
  readonly end: number
  firstLogitsRow: number
  readonly endLogitsRow: number
}

export class ExportedExecutor implements OpenedExecutor {
  readonly capabilities = {
    supportsPrefixReuse: false,
    supportsDrafts: false,
    isThreadCountInvariant: false,
    answersWhileComputing: false,
  }
  /** KV is dense, a sequence's own. */
  readonly kvBlocks = null
  /** The graph is as it was exported. */
  readonly adapters = null
  readonly limits: BatchLimits
  readonly arrays: BatchArrays
  /** As `NativeExecutor.logits`. */
  readonly logits: Float32Array
  readonly facts: ExecutorFacts
  readonly #session: GraphSession
  readonly #sampler: NativeSampler
  readonly #calls: PromptCalls
  readonly #slots: (SlotState | null)[]

  private constructor(parts: {
    session: GraphSession
    sampler: NativeSampler
    calls: PromptCalls
    limits: BatchLimits
    facts: ExecutorFacts
  }) {
    const { limits, sampler } = parts
    this.limits = limits
    this.facts = parts.facts
    this.#session = parts.session
    this.#sampler = sampler
    this.#calls = parts.calls
    this.#slots = new Array<SlotState | null>(limits.maxNumSeqs).fill(null)
    const { logits, ...rows } = sampler.buffers
    this.logits = logits
    this.arrays = {
      ...rows,
      tokenIds: new Int32Array(limits.maxNumBatchedTokens),
      positions: new Int32Array(limits.maxNumBatchedTokens),
      slotMapping: new Int32Array(limits.maxNumBatchedTokens),
      queryStarts: new Int32Array(limits.maxNumSeqs + 1),
      contextLengths: new Int32Array(limits.maxNumSeqs),
      sequenceSlots: new Int32Array(limits.maxNumSeqs),
      blockTables: new Int32Array(limits.maxNumSeqs * limits.maxBlocksPerSeq),
      logitsRows: new Int32Array(limits.maxLogitsRows),
      adapterRows: new Int32Array(limits.maxNumBatchedTokens),
    }
  }

  /**
   * Open the graph, try it, and make the sampler.
   *
   * @throws ServingError EXECUTION_* and NATIVE_*; nothing stays allocated then
   */
  static async open(options: ExportedExecutorOptions): Promise<ExportedExecutor> {
    const { decoder, threads, maxContextTokens } = options
    const { limits, kvBytesPerToken } = planExportedMemory(options)
    const { vocabSize } = limits
    const session = await GraphSession.open(decoder, {
      threads,
      maxContextTokens,
      blockSize: limits.blockSize,
      maxTokens: mostTokens(vocabSize),
    })
    try {
      const calls = await checkGraph(session)
      const { maxNumSeqs, maxLogitsRows } = limits
      const { Sampler } = loadNative()
      const sampler = translated(() => new Sampler({ maxNumSeqs, maxLogitsRows, vocabSize }))
      const facts = {
        kernels: 'onnxruntime',
        ortVersion: ortVersion(ortLibraryPath()),
        weightsBytes: options.weightsBytes,
        weightsHeldAs: 'memory' as const,
        kvBytesPerToken,
      }
      return new ExportedExecutor({ session, sampler, calls, limits, facts })
    } catch (cause) {
      await session.close()
      throw cause
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
    translated(() => this.#sampler.setSampler(slot, spec))
    const wantsPromptLogits = params.promptLogprobs !== null
    const isSingle = wantsPromptLogits && this.#session.decoder.hasLastLogitsOnly
    const calls = isSingle ? SINGLE_CALLS : this.#calls
    const kv = this.#session.makeKv()
    this.#slots[slot] = { promptIds, wantsPromptLogits, calls, kv }
  }

  removeSequence(slot: number): void {
    translated(() => this.#sampler.clearSampler(slot))
    this.#slots[slot] = null
  }

  async execute(_numTokens: number, numSeqs: number, numLogitsRows: number): Promise<void> {
    const { queryStarts, positions, sequenceSlots, logitsRows } = this.arrays
    let logitsRow = 0
    for (let seq = 0; seq < numSeqs; seq++) {
      const firstRow = queryStarts[seq]!
      const endRow = queryStarts[seq + 1]!
      const firstLogitsRow = logitsRow
      while (logitsRow < numLogitsRows && logitsRows[logitsRow]! < endRow) logitsRow += 1
      const state = this.#slots[sequenceSlots[seq]!] ?? null
      invariant(state !== null, 'X1', 'a step has a sequence without a slot')
      const start = positions[firstRow]!
      const end = start + endRow - firstRow
      const offset = firstRow - start
      const part = { state, offset, end, firstLogitsRow, endLogitsRow: logitsRow }
      await this.#compute(part, start)
    }
    translated(() => this.#sampler.sample(numLogitsRows))
  }

  async close(): Promise<void> {
    await this.#session.close()
  }

  async #compute(part: StepPart, start: number): Promise<void> {
    const { promptIds, calls } = part.state
    for (let position = start; position < part.end; ) {
      const call = callAt(position, promptIds.length, calls)
      const hasLogits = this.#nextWanted(part) < call.end
      // X1: the rest of the run comes with a later step.
      if (call.end > part.end && !hasLogits) return
      const isComputed = call.end <= promptIds.length && part.state.kv.numTokens >= call.end
      if (hasLogits || !isComputed) await this.#run(part, call)
      position = call.end
    }
  }

  /** Position of the next logits row that is wanted; infinite behind the last one. */
  #nextWanted({ firstLogitsRow, endLogitsRow, offset }: StepPart): number {
    if (firstLogitsRow === endLogitsRow) return Number.POSITIVE_INFINITY
    return this.arrays.logitsRows[firstLogitsRow]! - offset
  }

  /** Compute a run, and put the logits that are wanted into their rows. */
  async #run(part: StepPart, { start, end }: GraphCall): Promise<void> {
    const { state } = part
    const { vocabSize } = this.limits
    const tokenIds = this.#tokensOf(part, start, end)
    const numLogits = state.wantsPromptLogits && end <= state.promptIds.length ? end - start : 1
    const run = { tokenIds, start, numLogits, kv: state.kv }
    const wanted = this.#nextWanted(part)
    if (wanted >= end) return this.#session.run(run, null)
    if (numLogits === 1) {
      invariant(wanted === end - 1, 'X1', 'logits of a row are wanted that its run does not give')
      const row = part.firstLogitsRow * vocabSize
      part.firstLogitsRow += 1
      return this.#session.run(run, this.logits.subarray(row, row + vocabSize))
    }
    const all = new Float32Array(numLogits * vocabSize)
    await this.#session.run(run, all)
    for (let position = wanted; position < end; position = this.#nextWanted(part)) {
      const from = (position - start) * vocabSize
      const row = all.subarray(from, from + vocabSize)
      this.logits.set(row, part.firstLogitsRow * vocabSize)
      part.firstLogitsRow += 1
    }
  }

  /** Prompt tokens as the slot knows them, because a run may begin before the step's rows or end behind them. */
  #tokensOf({ state, offset }: StepPart, start: number, end: number): Int32Array {
    const { promptIds } = state
    if (end <= promptIds.length) return promptIds.subarray(start, end)
    return this.arrays.tokenIds.subarray(start + offset, end + offset)
  }
}

/** Concatenating graphs hold a past and a present of each sequence. */
function kvCopies({ sharesKvBuffer }: Pick<ExportedDecoder, 'sharesKvBuffer'>): number {
  return sharesKvBuffer ? 1 : 2
}

function planExportedMemory(options: ExportedExecutorOptions) {
  const { decoder } = options
  const { numKvHeads, headDim, vocabSize } = decoder.sizes
  const copies = kvCopies(decoder)
  const kvLayers = decoder.inputs.past.map(() => ({ numKvHeads, headDim }))
  const plan = planMemory({
    ...options,
    kvLayers,
    vocabSize,
    // Two bytes an element, as F16 has.
    kvDtype: decoder.kvType === 'F32' ? 'f32' : 'bf16',
    kvMemoryBytes: Math.floor(options.kvMemoryBytes / copies),
  })
  return { limits: plan.limits, kvBytesPerToken: plan.kvBytesPerToken * copies }
}

function translated<T>(call: () => T): T {
  try {
    return call()
  } catch (cause) {
    throw nativeServingError(cause)
  }
}
