/**
 * What flows through a decoder: a sum to which each half of a layer adds. The newest part is kept apart until somebody
 * needs the sum, so that the sum and the norm after it become one node.
 *
 * Owns the values; knows no layer and no tensor's name.
 */

import type { TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import type { GraphValue } from '../../src/graph/graph.ts'
import type { GraphBuilder } from '../../src/graph/graph-builder.ts'
import type { ModelConfig } from '../model-config.ts'
import { norm } from './norm.ts'

export class ResidualStream {
  readonly #builder: GraphBuilder
  readonly #config: ModelConfig
  #sum: GraphValue
  /** Not yet added to `#sum`. */
  #part: GraphValue | null = null

  constructor(builder: GraphBuilder, config: ModelConfig, start: GraphValue) {
    this.#builder = builder
    this.#config = config
    this.#sum = start
  }

  add(part: GraphValue): void {
    this.sum()
    this.#part = part
  }

  sum(): GraphValue {
    const part = this.#part
    if (part === null) return this.#sum
    this.#part = null
    const { residualScale: scale } = this.#config
    this.#sum = this.#builder.add(part, this.#sum, scale === 1 ? {} : { scale })
    return this.#sum
  }

  /** The norm of the sum. */
  normed(weight: TensorInfo, bias: TensorInfo | null): GraphValue {
    const { norm: config, residualScale } = this.#config
    const { kind, epsilon, weightOffset } = config
    const part = this.#part
    if (part === null || kind !== 'rms' || residualScale !== 1) {
      return norm(this.#builder, config, this.sum(), { weight, bias })
    }
    const options = { epsilon, weightOffset }
    const { sum, normed } = this.#builder.addRmsNorm(part, this.#sum, weight, options)
    this.#part = null
    this.#sum = sum
    return normed
  }

  /** Go on with the rows whose logits are wanted. */
  gather(): void {
    this.#sum = this.#builder.gatherRows(this.sum())
  }
}
