/**
 * What a `Moe` node says: the router's numbers, the names of the experts' weights, and the gated unit between them.
 * Checks that everything fits (G2 of the builder); owns nothing.
 */

import { invariant } from '../base/errors.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import type { AttributeValue } from './graph.ts'
import type { GraphWeights } from './graph-weights.ts'
import type { FamilyTensors, MoeOptions, RouterOptions } from './operator-options.ts'
import { expectMatrix, expectShape } from './shapes.ts'

type Attributes = Record<string, AttributeValue>

/** @param width - of the rows that the experts take and give */
export function moeAttributes(
  node: string,
  width: number,
  weights: GraphWeights,
  { router, gateUp, down, unit }: MoeOptions,
): Attributes {
  const numExperts = gateUp.weights.length
  invariant(down.weights.length === numExperts, 'G2', `${node}: each expert has both matrices`)
  const up = family(node, weights, gateUp, width)
  const inner = Math.ceil(up.rows / 2)
  const back = family(node, weights, down, inner)
  const [first = []] = down.weights
  expectShape(node, first[0]?.name ?? 'down', [width, inner], [back.rows, inner])
  return {
    numExperts,
    ...routerAttributes(node, numExperts, weights, router),
    gateUp: up.name,
    ...(up.bias === null ? {} : { gateUpBias: up.bias }),
    down: back.name,
    ...(back.bias === null ? {} : { downBias: back.bias }),
    ...unit,
  }
}

function family(
  node: string,
  weights: GraphWeights,
  { weights: members, biases = null, layout = 'rows' }: FamilyTensors,
  width: number,
): { readonly name: string; readonly rows: number; readonly bias: string | null } {
  for (const tensor of members.flat()) expectMatrix(node, tensor, layout, width)
  const { name, rows } = weights.family(members, layout)
  if (biases === null) return { name, rows, bias: null }
  invariant(biases.length === members.length, 'G2', `${node}: each expert has its bias`)
  const bias = weights.vectorFamily(biases)
  expectShape(node, bias.name, [rows], [bias.width])
  return { name, rows, bias: bias.name }
}

function routerAttributes(
  node: string,
  numExperts: number,
  weights: GraphWeights,
  router: RouterOptions,
): Attributes {
  const { scoring, topK, normalize, gainScale, correction = null } = router
  const { numGroups = 1, topGroups = 1 } = router
  return {
    topK,
    scoring,
    normalize: normalize ? 1 : 0,
    ...(gainScale === undefined ? {} : { gainScale }),
    ...(correction === null ? {} : { correction: vector(node, weights, correction, numExperts) }),
    numGroups,
    topGroups,
  }
}

function vector(node: string, weights: GraphWeights, tensor: TensorInfo, width: number): string {
  expectShape(node, tensor.name, [width], tensor.shape)
  return weights.vector([tensor]).name
}
