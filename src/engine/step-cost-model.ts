/**
 * What a step costs, learned from the steps themselves:
 *
 *   ms ≈ base + perToken · tokens + perKey · keys that rows attend to + perLogitsRow · logits rows
 *
 * Recursive least squares on relative errors (a decode step of 3 ms counts as much as a prompt's of 150 ms), with slow
 * forgetting, because machines get busy and idle again; an outlier moves it no more than three usual errors would.
 * Owns four weights and their covariance. Does not know sequences or clocks. Allocates nothing after construction.
 * M1 No weight is used below zero: more work is never predicted to be cheaper.
 * Source: Haykin, Adaptive Filter Theory, RLS; Huber's bounded influence.
 */

const NUM_WEIGHTS = 4
/** Units in which the four features are about 1 in a usual step; keeps the covariance well conditioned. */
const UNITS = Float64Array.of(1, 64, 65_536, 16)
/** About 200 steps until half is forgotten. */
const REMEMBERED = 0.9965
/** The guess may be wrong by tens, at errors of a tenth: it weighs next to nothing. */
const FIRST_VARIANCE = 1e5
/** Forgetting pauses above it. */
const LARGEST_VARIANCE = 1e3
/** Before the first step: a slow machine, so that the first chunks beside running streams are short. */
const FIRST_GUESS = Float64Array.of(2, 32, 10, 4)
const OUTLIER_ERRORS = 3
/** The first steps may be far from the guess, and are right. */
const TRUSTED_STEPS = 64
/** A token costs something, so that a budget of milliseconds is always one of tokens. */
const LEAST_COSTS = Float64Array.of(0, 1e-6, 0, 0)

export class StepCostModel {
  readonly #weights: Float64Array = FIRST_GUESS.slice() // [4] ms per unit
  readonly #costs = new Float64Array(NUM_WEIGHTS)
  readonly #covariance = new Float64Array(NUM_WEIGHTS * NUM_WEIGHTS)
  readonly #features = new Float64Array(NUM_WEIGHTS)
  readonly #gain = new Float64Array(NUM_WEIGHTS)
  /** Relative: of the step at hand, bounded, and the usual one. In an array, because a number would be boxed. */
  readonly #errors = Float64Array.of(0, 1)
  #numObserved = 0

  constructor() {
    this.#price()
    for (let index = 0; index < NUM_WEIGHTS; index++)
      this.#covariance[index * NUM_WEIGHTS + index] = FIRST_VARIANCE
  }

  get numObserved(): number {
    return this.#numObserved
  }

  /** Milliseconds of a step without work. */
  get baseMs(): number {
    return this.#costs[0]!
  }

  get tokenMs(): number {
    return this.#costs[1]!
  }

  /** Per key that a row attends to. */
  get keyMs(): number {
    return this.#costs[2]!
  }

  get logitsRowMs(): number {
    return this.#costs[3]!
  }

  predictMs(numTokens: number, numKeys: number, numLogitsRows: number): number {
    const costs = this.#costs
    return costs[0]! + costs[1]! * numTokens + costs[2]! * numKeys + costs[3]! * numLogitsRows
  }

  /** The most rows, at most `most`, from `position` on that `ms` pays for. */
  affordableTokens(ms: number, position: number, most: number): number {
    if (ms <= 0) return 0
    // n rows from p on attend to n·p + n(n+1)/2 keys: half · n² + linear · n ≤ ms.
    const half = this.keyMs / 2
    const linear = this.tokenMs + this.keyMs * position + half
    const tokens =
      half === 0 ? ms / linear : (Math.sqrt(linear * linear + 4 * half * ms) - linear) / (2 * half)
    // `half` may be so small that the difference above is all rounding; the straight line bounds it then.
    return Math.floor(Math.min(most, ms / linear, tokens > 0 ? tokens : most))
  }

  /** Learn from one step that was computed. Cost: some 40 multiplications. */
  observe(numTokens: number, numKeys: number, numLogitsRows: number, ms: number): void {
    const x = this.#features
    x[0] = 1
    x[1] = numTokens / UNITS[1]!
    x[2] = numKeys / UNITS[2]!
    x[3] = numLogitsRows / UNITS[3]!
    let predictedMs = 0
    for (let index = 0; index < NUM_WEIGHTS; index++)
      predictedMs += this.#weights[index]! * x[index]!
    const scale = 1 / (0.5 + Math.max(0, predictedMs))
    for (let index = 0; index < NUM_WEIGHTS; index++) x[index]! *= scale
    const error = (ms - predictedMs) * scale
    const bound =
      this.#numObserved < TRUSTED_STEPS
        ? Number.POSITIVE_INFINITY
        : OUTLIER_ERRORS * this.#errors[1]!
    const bounded = Math.max(-bound, Math.min(bound, error))
    this.#errors[0] = bounded
    this.#errors[1] = Math.max(0.01, 0.95 * this.#errors[1]! + 0.05 * Math.abs(bounded))
    this.#learn()
    this.#price()
    this.#numObserved += 1
  }

  #learn(): void {
    const error = this.#errors[0]!
    const { length: size } = this.#features
    const p = this.#covariance
    const x = this.#features
    const gain = this.#gain
    let denominator = REMEMBERED
    let trace = 0
    for (let row = 0; row < size; row++) {
      let sum = 0
      for (let column = 0; column < size; column++) sum += p[row * size + column]! * x[column]!
      gain[row] = sum
      denominator += sum * x[row]!
      trace += p[row * size + row]!
    }
    // What is not seen for long must not become infinitely uncertain, or the next step would decide it alone.
    const growth = trace > LARGEST_VARIANCE ? 1 : 1 / REMEMBERED
    for (let row = 0; row < size; row++) {
      this.#weights[row]! += (gain[row]! / denominator) * error
    }
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        const change = (gain[row]! * gain[column]!) / denominator
        p[row * size + column] = (p[row * size + column]! - change) * growth
      }
    }
  }

  /** Weights as milliseconds of one, none below zero (M1). */
  #price(): void {
    for (let index = 0; index < NUM_WEIGHTS; index++)
      this.#costs[index] = Math.max(LEAST_COSTS[index]!, this.#weights[index]! / UNITS[index]!)
  }
}
