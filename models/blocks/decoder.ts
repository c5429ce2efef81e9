/**
 * A decoder: embedding, layers, last norm, head. An architecture says how its configuration is read, what its tensors
 * are called and how a layer goes; this makes the `ModelDefinition` of it.
 *
 * Behind the last layer's attention everything runs on the wanted rows only; there may be none.
 * L1 There is at least one layer. L2 Rope factors that the configuration names are among the constants.
 */

import { invariant } from '../../src/base/errors.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import type { Graph, GraphValue } from '../../src/graph/graph.ts'
import { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { RopeOptions } from '../../src/graph/operator-options.ts'
import { modelError } from '../errors.ts'
import type { ModelConfig, RopeSetting } from '../model-config.ts'
import type { ModelDefinition } from '../model-definition.ts'
import { ropeFrequencies } from '../reading/rope.ts'
import { checkTensorSet, type ExpectedTensor, tensorOf } from '../tensor-check.ts'
import { adapterModules } from './adapter-modules.ts'
import type { Wiring } from './block.ts'
import { expectedTensors } from './expected-tensors.ts'
import { DecoderLayer, type LayerContext } from './layer.ts'
import { ResidualStream } from './residual-stream.ts'
import { type NameTables, TensorNames } from './tensor-names.ts'

type Kind = Checkpoint['kind']

export interface DecoderSpec {
  readonly modelType: string
  /** By kind, how a checkpoint names the architecture, and the reader of its configuration. */
  readonly readers: Readonly<Partial<Record<Kind, DecoderReader>>>
  readonly names: NameTables
  readonly layer: Wiring
  /** Converters to GGUF put the two halves of q's and k's heads into pairs; absent = they leave them. */
  readonly isPairedInGguf?: true
  /** Stored tensors that the computation does not read, each optional. */
  unread?(checkpoint: Checkpoint, config: ModelConfig): readonly ExpectedTensor[]
  claims?(checkpoint: Checkpoint): boolean
}

export interface DecoderReader {
  readonly architecture: string
  read(checkpoint: Checkpoint): ModelConfig
}

export function defineDecoder(spec: DecoderSpec): ModelDefinition {
  const { modelType, readers, claims } = spec
  const architectures = Object.fromEntries(
    Object.entries(readers).map(([kind, { architecture }]) => [kind, architecture]),
  )
  return {
    modelType,
    architectures,
    ...(claims === undefined ? {} : { claims }),
    readConfig: (checkpoint) => readConfig(spec, checkpoint),
    checkTensors: (checkpoint, config) =>
      checkTensorSet(checkpoint, modelType, [
        ...expectedTensors(config, namesIn(spec, checkpoint), spec.layer),
        ...(spec.unread?.(checkpoint, config) ?? []),
      ]),
    constantTensors: (checkpoint, { ropes }) =>
      factorTensorsOf(ropes).map((name) => tensorOf(checkpoint, name)),
    adapterModules: (checkpoint, config) =>
      adapterModules(checkpoint, config, {
        names: spec.names,
        isPairedInGguf: spec.isPairedInGguf === true,
      }),
    buildGraph: (checkpoint, config, constants) => buildGraph(spec, checkpoint, config, constants),
  }
}

function namesIn({ names }: DecoderSpec, checkpoint: Checkpoint): TensorNames {
  return new TensorNames(checkpoint, names[checkpoint.kind])
}

function readConfig({ modelType, readers }: DecoderSpec, checkpoint: Checkpoint): ModelConfig {
  const reader = readers[checkpoint.kind]
  if (reader !== undefined) return reader.read(checkpoint)
  const file = checkpoint.files[0] ?? ''
  const expected = Object.keys(readers).join(' or ')
  throw modelError('MODEL_UNSUPPORTED_CHECKPOINT_KIND', {
    details: { file, architecture: modelType, expected, got: checkpoint.kind },
  })
}

function factorTensorsOf(ropes: readonly RopeSetting[]): readonly string[] {
  const names = ropes.map(({ factorsTensor }) => factorsTensor)
  return [...new Set(names.filter((name) => name !== null))]
}

function buildGraph(
  spec: DecoderSpec,
  checkpoint: Checkpoint,
  config: ModelConfig,
  constants: ReadonlyMap<string, Float32Array>,
): Graph {
  const builder = new GraphBuilder()
  const names = namesIn(spec, checkpoint)
  const ropes = config.ropes.map((rope) => ropeOptions(rope, constants))
  const context = { builder, checkpoint, config, names, ropes }
  invariant(config.numLayers > 0, 'L1', 'a model has at least one layer')

  const stream = new ResidualStream(builder, config, embed(context))
  for (let index = 0; index < config.numLayers; index++) {
    spec.layer.build(new DecoderLayer(context, index), stream)
  }
  const weight = tensorOf(checkpoint, names.norm('weight'))
  const bias = checkpoint.tensors.get(names.norm('bias')) ?? null
  const normed = stream.normed(weight, bias)
  const head = config.tieWordEmbeddings ? names.embedding : names.head
  const logits = builder.linear(normed, [tensorOf(checkpoint, head)])
  return builder.finish(scaledLogits(builder, config, logits), config.maxContextTokens)
}

function embed({ builder, checkpoint, config, names }: LayerContext): GraphValue {
  const scale = config.embeddingScale
  const tokens = builder.embedding(tensorOf(checkpoint, names.embedding), { scale })
  if (names.positions === null) return tokens
  const table = tensorOf(checkpoint, names.positions)
  return builder.add(builder.embedding(table, { ids: 'positions' }), tokens)
}

function scaledLogits(builder: GraphBuilder, config: ModelConfig, logits: GraphValue): GraphValue {
  const { logitScale: factor, logitSoftcap: softcap } = config
  if (factor === 1 && softcap === null) return logits
  return builder.scale(logits, softcap === null ? { factor } : { factor, softcap })
}

/** Once for each setting: layers that share one share its frequencies. */
function ropeOptions(rope: RopeSetting, constants: ReadonlyMap<string, Float32Array>): RopeOptions {
  const { factorsTensor, theta, rotaryDim, linearFactor } = rope
  const stored = factorsTensor === null ? null : (constants.get(factorsTensor) ?? null)
  invariant(factorsTensor === null || stored !== null, 'L2', 'the rope factors were not read')
  const factors = stored ?? rope.factors
  const frequencies = ropeFrequencies({ theta, rotaryDim, linearFactor, factors })
  return { style: rope.style, frequencies, scale: rope.magnitude }
}
