/**
 * A mixture of experts in place of an MLP: a router's logits choose a few experts for each row, whose results are summed
 * by their gains; what all rows share is added. Layers that the configuration calls dense have the one MLP.
 *
 *   x ── router ── logits ─┐
 *   ├───────────────────── experts ── + ── out
 *   └── shared expert (times a gate) ─┘
 *
 * The experts' matrices may be stored apart or stacked; the table of names says how.
 * Sources: arXiv:2401.04088 (Mixtral), arXiv:2401.06066 (shared experts).
 */

import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { FamilyTensors } from '../../src/graph/operator-options.ts'
import type { ExpertsConfig } from '../model-config.ts'
import type { Block, LayerShape, LayerTensor, NamedTensor } from './block.ts'
import { DENSE } from './expected-tensors.ts'
import type { DecoderLayer } from './layer.ts'
import { gatedMlp } from './mlp.ts'
import type { ExpertNames } from './tensor-names.ts'
import { memberOf } from './tensor-slices.ts'

export const expertMlp: Block = {
  parts(shape: LayerShape): readonly LayerTensor[] {
    const { config, names, index } = shape
    const { experts, hiddenSize } = config
    if (experts === undefined || config.layers[index]?.isDense === true) {
      return gatedMlp.parts(shape)
    }
    const { numExperts, hasBias } = experts
    return [
      { part: 'ffn_gate_inp', shape: [numExperts, hiddenSize], bias: hasBias },
      ...matrices(experts, hiddenSize, names.experts),
      ...vectors(experts, hiddenSize, names.experts),
      ...sharedTensors(experts, hiddenSize, names.experts),
    ]
  },

  build(layer: DecoderLayer, x: GraphValue): GraphValue {
    const { experts } = layer.model
    if (experts === undefined || layer.config.isDense === true) return gatedMlp.build(layer, x)
    const names = layer.names.experts
    const { isInterleaved = false, correction } = names
    const routed = layer.builder.moe(x, layer.linear(x, ['ffn_gate_inp']), {
      router: {
        ...experts.router,
        correction:
          experts.hasCorrection && correction !== undefined ? layer.tensor(correction) : null,
      },
      gateUp: family(layer, names.gateUp, names.gateUpBias),
      down: family(layer, [names.down], names.downBias === undefined ? [] : [names.downBias]),
      unit: { ...experts.unit, layout: isInterleaved ? 'interleaved' : 'halves' },
    })
    return experts.shared === null ? routed : layer.builder.add(shared(layer, x), routed)
  },
}

function isStacked(name: string): boolean {
  return !name.includes('{}')
}

function nameOf(pattern: string, expert: number): string {
  return pattern.replace('{}', String(expert))
}

function matrices(
  { numExperts, size }: ExpertsConfig,
  hiddenSize: number,
  { gateUp, down, layout }: ExpertNames,
): readonly NamedTensor[] {
  const rows = (2 * size) / gateUp.length
  const all = [...gateUp.map((name) => [name, rows, hiddenSize] as const)]
  return [...all, [down, hiddenSize, size] as const].flatMap(([name, outs, ins]) => {
    const shape = layout === 'columns' ? [ins, outs] : [outs, ins]
    // Blocks lie along the inputs, so matrices in blocks are rows wherever dense ones are columns.
    const otherShape = [numExperts, outs, ins]
    if (isStacked(name)) return [{ name, shape: [numExperts, ...shape], otherShape }]
    return Array.from({ length: numExperts }, (_, i) => ({ name: nameOf(name, i), shape }))
  })
}

function vectors(
  { numExperts, size, hasBias, hasCorrection }: ExpertsConfig,
  hiddenSize: number,
  { gateUpBias = [], downBias, correction }: ExpertNames,
): readonly NamedTensor[] {
  const formats = DENSE
  const tensors: NamedTensor[] = []
  if (hasBias) {
    const rows = (2 * size) / gateUpBias.length
    tensors.push(...gateUpBias.map((name) => ({ name, shape: [numExperts, rows], formats })))
    if (downBias !== undefined) {
      tensors.push({ name: downBias, shape: [numExperts, hiddenSize], formats })
    }
  }
  if (hasCorrection && correction !== undefined) {
    tensors.push({ name: correction, shape: [numExperts], formats })
  }
  return tensors
}

/** One list of matrices an expert, and their biases. */
function family(
  layer: DecoderLayer,
  names: readonly string[],
  biases: readonly string[] = [],
): FamilyTensors {
  const { numExperts = 0, hasBias = false } = layer.model.experts ?? {}
  const members = (all: readonly string[]): (readonly TensorInfo[])[] => {
    const stacks = all.map((name) => (isStacked(name) ? layer.tensor(name) : null))
    return Array.from({ length: numExperts }, (_, expert) =>
      all.map((name, i) => {
        const stack = stacks[i] ?? null
        return stack === null ? layer.tensor(nameOf(name, expert)) : memberOf(stack, expert)
      }),
    )
  }
  const weights = members(names)
  const isInBlocks = weights[0]?.[0]?.exponents !== undefined
  const layout = isInBlocks ? 'rows' : (layer.names.experts.layout ?? 'rows')
  return { weights, biases: hasBias ? members(biases) : null, layout }
}

function sharedTensors(
  { shared }: ExpertsConfig,
  hiddenSize: number,
  { sharedGate }: ExpertNames,
): readonly LayerTensor[] {
  if (shared === null) return []
  const tensors: LayerTensor[] = [
    { part: 'ffn_gate_shexp', shape: [shared.size, hiddenSize], bias: false },
    { part: 'ffn_up_shexp', shape: [shared.size, hiddenSize], bias: false },
    { part: 'ffn_down_shexp', shape: [hiddenSize, shared.size], bias: false },
  ]
  if (shared.isGated && sharedGate !== undefined) {
    tensors.push({ name: sharedGate, shape: [1, hiddenSize], otherShape: [hiddenSize] })
  }
  return tensors
}

/** A gated one is a mixture of one expert, whose gain is the sigmoid of its logit. */
function shared(layer: DecoderLayer, x: GraphValue): GraphValue {
  const { builder, model, names } = layer
  const { experts, activation: kind, hiddenSize } = model
  const { sharedGate } = names.experts
  if (experts?.shared?.isGated !== true || sharedGate === undefined) {
    return layer.gatedMlp(x, ['ffn_gate_shexp', 'ffn_up_shexp'], 'ffn_down_shexp')
  }
  const gate = { ...layer.tensor(sharedGate), shape: [1, hiddenSize] }
  return builder.moe(x, builder.linear(x, [gate]), {
    router: { scoring: 'sigmoid', topK: 1, normalize: false },
    gateUp: { weights: [[layer.weight('ffn_gate_shexp'), layer.weight('ffn_up_shexp')]] },
    down: { weights: [[layer.weight('ffn_down_shexp')]] },
    unit: { kind },
  })
}
