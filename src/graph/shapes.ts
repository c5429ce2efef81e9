/** Shapes of graph values, compared: a width, and the refusal of what does not fit (G2 of the builder). */

import { invariant } from '../base/errors.ts'
import type { TensorInfo } from '../checkpoint/checkpoint.ts'
import { graphError } from './errors.ts'
import type { GraphValue, MatrixLayout } from './graph.ts'

/** The innermost dimension. */
export function widthOf(value: GraphValue): number {
  const width = value.shape.at(-1)
  invariant(typeof width === 'number', 'G2', `${value.name} has no fixed width`)
  return width
}

/** The outermost dimension: all rows of the step, or the wanted ones. */
export function rowsOf(value: GraphValue): GraphValue['shape'][number] {
  const [rows] = value.shape
  invariant(rows !== undefined, 'G2', `${value.name} has no rows`)
  return rows
}

/**
 * @param node - that the shape is expected by
 * @param what - has the shape `got`
 * @throws ServingError GRAPH_SHAPE_MISMATCH
 */
export function expectShape(
  node: string,
  what: string,
  expected: readonly (number | string)[],
  got: readonly (number | string)[],
): void {
  const isEqual = expected.length === got.length && expected.every((extent, i) => extent === got[i])
  if (isEqual) return
  throw graphError('GRAPH_SHAPE_MISMATCH', {
    details: { node, what, expected: `[${expected.join(', ')}]`, got: `[${got.join(', ')}]` },
  })
}

/** A stored matrix of `width` inputs. */
export function expectMatrix(
  node: string,
  { name, shape }: TensorInfo,
  layout: MatrixLayout,
  width: number,
): void {
  const expected = layout === 'rows' ? [shape[0] ?? 'N', width] : [width, shape[1] ?? 'N']
  expectShape(node, name, expected, shape)
}
