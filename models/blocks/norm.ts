/** A norm of the kind that the architecture has. */

import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { NormConfig } from '../model-config.ts'

export interface NormTensors {
  readonly weight: TensorInfo
  /** Of a `layer` norm only. */
  readonly bias: TensorInfo | null
}

export function norm(
  builder: GraphBuilder,
  { kind, epsilon, weightOffset }: NormConfig,
  x: GraphValue,
  { weight, bias }: NormTensors,
): GraphValue {
  if (kind === 'layer') return builder.layerNorm(x, weight, { epsilon, bias })
  return builder.rmsNorm(x, weight, { epsilon, weightOffset })
}
