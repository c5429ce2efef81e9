/** The feed-forward half of a layer: act(gate) · up, then down. Source: arXiv:2002.05202. */

import type { GraphValue } from '../../src/graph/graph.ts'
import type { Block, LayerShape, PartTensors } from './block.ts'
import type { DecoderLayer } from './layer.ts'

/** Gate and up from one node, whether they are stored apart or joined, gate first. */
export const gatedMlp: Block = {
  parts({ config, names }: LayerShape): readonly PartTensors[] {
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
    const { builder, names } = layer
    const stored = names.has('ffn_gate_up')
      ? (['ffn_gate_up'] as const)
      : (['ffn_gate', 'ffn_up'] as const)
    return layer.linear(builder.swiGlu(layer.linear(x, stored)), ['ffn_down'])
  },
}
