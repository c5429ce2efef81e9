/**
 * The feed-forward half of a layer: act(gate) · up, then down; or act(up), then down, without gates.
 * Source: arXiv:2002.05202.
 */

import type { GraphValue } from '../../src/graph/graph.ts'
import type { Block, PartTensors } from './block.ts'
import type { DecoderLayer } from './layer.ts'

/** One node, whether gate and up are stored apart or joined, gate first. */
export const gatedMlp: Block = {
  parts({ config, names }): readonly PartTensors[] {
    const { hiddenSize, intermediateSize } = config
    const bias = config.biases.mlp
    const gateUp: PartTensors[] = names.has('ffn_gate_up')
      ? [{ part: 'ffn_gate_up', shape: [2 * intermediateSize, hiddenSize], bias }]
      : [
          { part: 'ffn_gate', shape: [intermediateSize, hiddenSize], bias },
          { part: 'ffn_up', shape: [intermediateSize, hiddenSize], bias },
        ]
    return [...gateUp, { part: 'ffn_down', shape: [hiddenSize, intermediateSize], bias }]
  },

  build(layer: DecoderLayer, x: GraphValue): GraphValue {
    const isJoined = layer.names.has('ffn_gate_up')
    const gateUp = isJoined ? (['ffn_gate_up'] as const) : (['ffn_gate', 'ffn_up'] as const)
    return layer.gatedMlp(x, gateUp, 'ffn_down')
  },
}

export const plainMlp: Block = {
  parts({ config }): readonly PartTensors[] {
    const { hiddenSize, intermediateSize } = config
    const bias = config.biases.mlp
    return [
      { part: 'ffn_up', shape: [intermediateSize, hiddenSize], bias },
      { part: 'ffn_down', shape: [hiddenSize, intermediateSize], bias },
    ]
  },

  build(layer: DecoderLayer, x: GraphValue): GraphValue {
    const inner = layer.builder.activation(layer.linear(x, ['ffn_up']), layer.model.activation)
    return layer.linear(inner, ['ffn_down'])
  },
}
