/**
 * Which outputs of which `Linear` node each stored matrix makes: where a delta of that matrix belongs. Reads the graph;
 * owns nothing.
 *
 *   weight  [ q_proj )[ k_proj )[ v_proj )      outputs 0 … q, q … q + k, …
 *
 * Matrices behind `GatherRows` (the head) are left out: their rows are not those of the step.
 */

import type { Graph, GraphWeight } from './graph.ts'

export interface LinearOutputs {
  /** Name of the node's weight. */
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
  for (const name of stepWeights(graph)) {
    const weight = weights.get(name)
    if (weight?.kind !== 'linear') continue
    for (const place of outputsOf(weight)) places.set(place.tensor, place.outputs)
  }
  return places
}

/** Weights of the nodes whose rows are the step's. */
function stepWeights({ nodes }: Pick<Graph, 'nodes'>): readonly string[] {
  const gathered = new Set<string>()
  const names: string[] = []
  for (const { operator, inputs, outputs, attributes } of nodes) {
    if (operator === 'GatherRows' || inputs.some((input) => gathered.has(input))) {
      for (const output of outputs) gathered.add(output)
    } else if (operator === 'Linear') names.push(String(attributes.weight))
  }
  return names
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
