/**
 * A checkpoint as every reader presents it: metadata, and an index of named tensors with where their bytes are.
 * Knows formats and byte ranges; knows nothing of architectures' mathematics, ORT or where the file came from.
 */

import type { QuantizedFormat, TensorFormat } from '../base/tensor-format.ts'
import type { ExportedDecoder } from './onnx/exported-decoder.ts'
import type { StoredQuantization, StoredTensor } from './quantized/stored-quantization.ts'

/** One stored tensor. `offset + byteLength` has been checked against the file's size. */
export interface TensorInfo {
  readonly name: string
  readonly format: TensorFormat | QuantizedFormat
  /** Outermost dimension first (GGUF's own order reversed). */
  readonly shape: readonly number[]
  readonly file: string
  /** From the start of the file, bytes. */
  readonly offset: number
  /** Of all stored tensors that it is made of. */
  readonly byteLength: number
  /** MXFP4's, where they lie apart from the blocks that `offset` points at. Absent for all others. */
  readonly exponents?: Pick<StoredTensor, 'file' | 'offset' | 'byteLength'>
  /** What a quantized weight is made of; `file` and `offset` are then those of its codes. Absent for all others. */
  readonly quantization?: StoredQuantization
  /** A bias beside quantized codes whose bytes are all zero: an architecture that has none may leave it out. */
  readonly isZeroBias?: true
}

/** `null` and objects, which are maps without a prototype, come from JSON only. */
export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly MetadataValue[]
  | ReadonlyMap<string, MetadataValue>

export interface Checkpoint {
  readonly kind: 'gguf' | 'safetensors'
  /** Files it consists of, first the one that holds the metadata. */
  readonly files: readonly string[]
  /** GGUF key-values, or `config.json` with `generation_config.json` as its `generation_config`. 64-bit integers within 2^53 are numbers. */
  readonly metadata: ReadonlyMap<string, MetadataValue>
  readonly tensors: ReadonlyMap<string, TensorInfo>
  readonly totalTensorBytes: number
  /** How the configuration says that weights are quantized, for people; absent when it does not. */
  readonly quantization?: string
}

/** A checkpoint that comes with its own graph. Its weights stay in the graph's files, so no tensor is listed. */
export interface ExportedCheckpoint extends Omit<Checkpoint, 'kind'> {
  readonly kind: 'onnx'
  readonly exported: ExportedDecoder
}

/** What opening a path gives: tensors to build a graph for, or a graph. */
export type OpenedCheckpoint = Checkpoint | ExportedCheckpoint
