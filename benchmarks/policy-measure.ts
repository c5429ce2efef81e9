/** What one policy's measurement is: a figure that a loaded engine gives in each round. */

import type { LoadedEngine } from '../src/worker/load-engine.ts'

export interface Measure {
  readonly figure: string
  /** More is better. */
  readonly isRate: boolean
  readonly priceFigure?: string
  run(engine: LoadedEngine, round: number): Promise<Measured>
}

export interface Measured {
  readonly value: number
  readonly answer: string
  /** Of `priceFigure`. */
  readonly price?: number
}
