/**
 * Which outputs of which weight each stored matrix makes, of the nodes that add deltas (`Linear`, `GatedMlp`): where a
 * delta of that matrix belongs. Reads the graph; owns nothing.
 *
 *   weight  [ q_proj )[ k_proj )[ v_proj )      outputs 0 … q, q … q + k, …
 *
 * The head, the last of them, is left out: it makes words, and is no module of a layer.
 */

import type { Graph, GraphWeight } from './graph.ts'

export interface LinearOutputs {
  /** Name of the weight. */
  readonly weight: string
  readonly first: number
  readonly outputs: number
  readonly inputs: number
}

/** By the tensor's name. */
export function linearOutputs(
  graph: Pick<Graph, 'nodes' | 'weights'>,
): ReadonlyMap<string, LinearOutputs> {
  const weights = new Map(graph.weights.map((weight) => [weight.name, weight]))
  const places = new Map<string, LinearOutputs>()
  for (const name of layerWeights(graph)) {
    const weight = weights.get(name)
    if (weight?.kind !== 'linear') continue
    for (const place of outputsOf(weight)) places.set(place.tensor, place.outputs)
  }
  return places
}

/** Weights of the layers' nodes. */
function layerWeights({ nodes }: Pick<Graph, 'nodes'>): readonly string[] {
  const weights = nodes.flatMap(({ operator, attributes }) => {
    if (operator === 'GatedMlp') return [attributes.gateUp, attributes.down]
    return operator === 'Linear' ? [attributes.weight] : []
  })
  return weights.slice(0, -1).map(String)
}

function outputsOf(weight: Extract<GraphWeight, { kind: 'linear' | 'vector' }>) {
  const isTurned = weight.layout === 'columns'
  let first = 0
  return weight.tensors.map(({ name: tensor, shape }) => {
    const [outputs = 0, inputs = 0] = isTurned ? [shape[1], shape[0]] : shape
    const place: LinearOutputs = { weight: weight.name, first, outputs, inputs }
    first += outputs
    return { tensor, outputs: place }
  })
}
