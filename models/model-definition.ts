/**
 * What an architecture gives: how its configuration is read, and how its computation is built. One file a `model_type`
 * beside this one, listed in `registry.ts`. A definition is stateless and touches no file: tensors' values that the
 * graph itself depends on are read by the caller.
 */

import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts'
import type { Graph } from '../src/graph/graph.ts'
import type { ModelConfig } from './model-config.ts'

/** Modules that adapters may name, as Hugging Face's folders call them. */
export type AdapterModules = ReadonlyMap<
  string,
  {
    /** Name of the stored tensor that its matrix lies in. */
    readonly tensor: string
    /** Row of that tensor where each of the module's outputs lies; `null` = in their order. */
    readonly outputOrder: Int32Array | null
  }
>

export interface ModelDefinition {
  readonly modelType: string
  /** How each kind of checkpoint that the architecture comes in names it. */
  readonly architectures: Readonly<Partial<Record<Checkpoint['kind'], string>>>
  /** Whether the checkpoint is of this one, where several go by one name; absent = it is. */
  claims?(checkpoint: Checkpoint): boolean
  /**
   * Read and check the metadata; one reader for each kind of checkpoint.
   *
   * @throws ServingError MODEL_BAD_METADATA, MODEL_UNSUPPORTED_FEATURE, MODEL_UNSUPPORTED_CHECKPOINT_KIND
   */
  readConfig(checkpoint: Checkpoint): ModelConfig
  /**
   * Check all tensors against the configuration.
   *
   * @throws ServingError MODEL_TENSOR_MISSING, MODEL_TENSOR_SHAPE, MODEL_TENSOR_FORMAT, MODEL_TENSOR_UNEXPECTED
   */
  checkTensors(checkpoint: Checkpoint, config: ModelConfig): void
  /** Small F32 tensors whose values `buildGraph` wants, by name. */
  constantTensors(checkpoint: Checkpoint, config: ModelConfig): readonly TensorInfo[]
  /** What of it adapters may change, as far as its names tell; the graph says which are computed so that they can be. */
  adapterModules(checkpoint: Checkpoint, config: ModelConfig): AdapterModules
  /** @param constants - the values of `constantTensors` */
  buildGraph(
    checkpoint: Checkpoint,
    config: ModelConfig,
    constants: ReadonlyMap<string, Float32Array>,
  ): Graph
}
