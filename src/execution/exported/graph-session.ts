/**
 * One exported graph, ready to run: makes its inputs from token ids, positions and a past, and gives logits.
 *
 * Owns the session and the arrays of inputs, which are made once. Runs one sequence at a time; onnxruntime-node blocks
 * its thread meanwhile. Does not know schedulers, samplers, or which rows are worth computing.
 * G1 Nothing but a ServingError leaves.
 */

import { stripVTControlCharacters } from 'node:util'
import type { InferenceSession, Tensor } from 'onnxruntime-node'
import type { ExportedDecoder, IndexInput } from '../../checkpoint/onnx/exported-decoder.ts'
import { executionError } from '../errors.ts'
import { DenseKv, type KvView } from './dense-kv.ts'
import { widenHalves } from './half-floats.ts'
import { loadOrt, type Ort } from './load-ort.ts'

export interface GraphSessionOptions {
  readonly threads: number
  readonly maxContextTokens: number
  /** Tokens that a sequence's KV grows by. */
  readonly blockSize: number
  /** Most tokens of one run. */
  readonly maxTokens: number
}

export interface GraphRun {
  /** Of positions `start` to `start + tokenIds.length`. */
  readonly tokenIds: Int32Array
  readonly start: number
  /** Logits of so many of the last rows, at least 1; graphs that give more or fewer are no concern of the caller. */
  readonly numLogits: number
  readonly kv: DenseKv
}

type Indices = BigInt64Array | Int32Array

export class GraphSession {
  readonly decoder: ExportedDecoder
  readonly #ort: Ort
  readonly #session: InferenceSession
  readonly #options: GraphSessionOptions
  readonly #tokenIds: Indices
  /** Ones, as many as the context has tokens. */
  readonly #mask: Indices
  /** 0, 1, 2 … */
  readonly #positions: Indices
  #scratch: Float32Array = new Float32Array(0)
  #halves: Uint16Array = new Uint16Array(0)

  private constructor(
    ort: Ort,
    session: InferenceSession,
    decoder: ExportedDecoder,
    options: GraphSessionOptions,
  ) {
    const { tokenIds, attentionMask, positionIds } = decoder.inputs
    const { maxContextTokens, maxTokens } = options
    this.decoder = decoder
    this.#ort = ort
    this.#session = session
    this.#options = options
    this.#tokenIds = indices(tokenIds, maxTokens, () => 0)
    this.#mask = indices(attentionMask, maxContextTokens, () => 1)
    this.#positions = indices(positionIds, maxContextTokens, (index) => index)
  }

  /** @throws ServingError EXECUTION_ORT_NOT_LOADED, EXECUTION_GRAPH_REFUSED */
  static async open(decoder: ExportedDecoder, options: GraphSessionOptions): Promise<GraphSession> {
    const ort = loadOrt()
    try {
      const session = await ort.InferenceSession.create(decoder.graphFile, {
        intraOpNumThreads: options.threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // Threads that spin between two operators take the processor from whoever else has work.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
        // Shapes change with every token, so a pattern of allocations is never met again.
        enableMemPattern: false,
        logSeverityLevel: 4,
      })
      return new GraphSession(ort, session, decoder, options)
    } catch (cause) {
      const details = { file: decoder.graphFile, reason: reasonOf(cause) }
      throw executionError('EXECUTION_GRAPH_REFUSED', { cause, details })
    }
  }

  /** Room for one sequence's keys and values. */
  makeKv(): DenseKv {
    const { kvType, sizes, inputs, sharesKvBuffer } = this.decoder
    return new DenseKv({
      numTensors: 2 * inputs.past.length,
      numKvHeads: sizes.numKvHeads,
      headDim: sizes.headDim,
      type: kvType,
      isShared: sharesKvBuffer,
      maxTokens: this.#options.maxContextTokens,
      growTokens: this.#options.blockSize,
    })
  }

  /**
   * Compute rows and add them to `kv`.
   *
   * @param target - [numLogits * vocabSize], filled with the logits of the last rows; `null` = nobody wants them
   * @throws ServingError EXECUTION_GRAPH_FAILED; `kv` is unspecified then
   */
  async run(run: GraphRun, target: Float32Array | null): Promise<void> {
    const { tokenIds, start, kv } = run
    kv.prepare(start, start + tokenIds.length)
    const numRows = this.#numLogitsRows(run)
    const place = this.#logitsPlace(numRows, target)
    try {
      await this.#session.run(this.#feeds(run), this.#fetches(kv, numRows, place))
    } catch (cause) {
      throw executionError('EXECUTION_GRAPH_FAILED', {
        cause,
        details: { reason: reasonOf(cause) },
      })
    }
    kv.commit()
    if (target !== null) this.#give(place, numRows, target)
  }

  /** Frees the session. */
  async close(): Promise<void> {
    await this.#session.release()
  }

  #feeds({ tokenIds, start, numLogits, kv }: GraphRun): Record<string, Tensor> {
    const { inputs } = this.decoder
    const { length } = tokenIds
    const end = start + length
    const feeds: Record<string, Tensor> = {}
    for (let index = 0; index < length; index++) {
      if (this.#tokenIds instanceof Int32Array) this.#tokenIds[index] = tokenIds[index]!
      else this.#tokenIds[index] = BigInt(tokenIds[index]!)
    }
    const matrix = (data: Indices) => this.#indexTensor(data, [1, data.length])
    feeds[inputs.tokenIds.name] = matrix(this.#tokenIds.subarray(0, length))
    if (inputs.attentionMask !== null) {
      feeds[inputs.attentionMask.name] = matrix(this.#mask.subarray(0, end))
    }
    if (inputs.positionIds !== null) {
      feeds[inputs.positionIds.name] = matrix(this.#positions.subarray(start, end))
    }
    if (inputs.numLogits !== null) {
      const count = indices(inputs.numLogits, 1, () => numLogits)
      feeds[inputs.numLogits.name] = this.#indexTensor(
        count,
        inputs.numLogits.rank === 0 ? [] : [1],
      )
    }
    if (inputs.useCacheBranch !== null) {
      const isUsed = Uint8Array.of(start > 0 ? 1 : 0)
      feeds[inputs.useCacheBranch] = new this.#ort.Tensor('bool', isUsed, [1])
    }
    for (const [layer, { key, value }] of inputs.past.entries()) {
      feeds[key] = this.#kvTensor(kv.past(2 * layer))
      feeds[value] = this.#kvTensor(kv.past(2 * layer + 1))
    }
    return feeds
  }

  /** Outputs are written where they are wanted, so nothing is copied out of ONNX Runtime. */
  #fetches(kv: DenseKv, numRows: number, place: KvView['data']): Record<string, Tensor> {
    const { outputs, sizes } = this.decoder
    const fetches: Record<string, Tensor> = {}
    fetches[outputs.logits] = this.#floatTensor(place, [1, numRows, sizes.vocabSize])
    for (const [layer, { key, value }] of outputs.present.entries()) {
      fetches[key] = this.#kvTensor(kv.present(2 * layer))
      fetches[value] = this.#kvTensor(kv.present(2 * layer + 1))
    }
    return fetches
  }

  #numLogitsRows({ tokenIds, numLogits }: GraphRun): number {
    if (this.decoder.hasLastLogitsOnly) return 1
    return this.decoder.inputs.numLogits === null ? tokenIds.length : numLogits
  }

  /** The target itself when the graph's rows are just those; else room that is used again. */
  #logitsPlace(numRows: number, target: Float32Array | null): Float32Array | Uint16Array {
    const length = numRows * this.decoder.sizes.vocabSize
    if (this.decoder.logitsType === 'F16') {
      if (this.#halves.length < length) this.#halves = new Uint16Array(length)
      return this.#halves.subarray(0, length)
    }
    if (target?.length === length) return target
    if (this.#scratch.length < length) this.#scratch = new Float32Array(length)
    return this.#scratch.subarray(0, length)
  }

  #give(place: Float32Array | Uint16Array, numRows: number, target: Float32Array): void {
    if (place === target) return
    const rows = place.subarray(numRows * this.decoder.sizes.vocabSize - target.length)
    if (rows instanceof Uint16Array) widenHalves(rows, target)
    else target.set(rows)
  }

  #kvTensor({ data, dims }: KvView): Tensor {
    return this.#floatTensor(data, dims)
  }

  #floatTensor(data: Float32Array | Uint16Array, dims: readonly number[]): Tensor {
    return data instanceof Float32Array
      ? new this.#ort.Tensor('float32', data, dims)
      : new this.#ort.Tensor('float16', data, dims)
  }

  #indexTensor(data: Indices, dims: readonly number[]): Tensor {
    return data instanceof Int32Array
      ? new this.#ort.Tensor('int32', data, dims)
      : new this.#ort.Tensor('int64', data, dims)
  }
}

/** None for an input that the graph has not. */
function indices(
  input: IndexInput | null,
  length: number,
  valueAt: (index: number) => number,
): Indices {
  if (input === null) return new Int32Array(0)
  if (input.type === 'I32') return Int32Array.from({ length }, (_, index) => valueAt(index))
  return BigInt64Array.from({ length }, (_, index) => BigInt(valueAt(index)))
}

/** ONNX Runtime ends some messages with the codes of a terminal's colours. */
function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  return stripVTControlCharacters(text).trim().slice(0, 1000)
}
