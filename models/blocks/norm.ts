/** A norm of the kind that the architecture has. */

import { invariant } from '../../src/base/errors.ts'
import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { NormConfig } from '../model-config.ts'

export interface NormTensors {
  readonly weight: TensorInfo
  readonly bias: TensorInfo | null
}

export function norm(
  builder: GraphBuilder,
  { kind, epsilon, weightOffset }: NormConfig,
  x: GraphValue,
  { weight, bias }: NormTensors,
): GraphValue {
  invariant(kind === 'rms' && bias === null, 'L4', 'only RMS norms without bias are built')
  return builder.rmsNorm(x, weight, { epsilon, weightOffset })
}
