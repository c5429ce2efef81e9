/**
 * What a step costs, learned from the steps themselves:
 *
 *   ms ≈ base + perToken · tokens + perKey · keys that rows attend to + perLogitsRow · logits rows
 *
 * A Kalman filter over the four costs, on relative errors (a decode step of 3 ms counts as much as a prompt's of
 * 150 ms). What is not measured is told apart from what is: between steps each cost may drift a little by itself, and
 * all of them together by more, because machines get busy and idle again. So a slow moment makes everything slower
 * and not prompts dearer, and after a long time of streams only, prompts are uncertain again instead of wrong.
 * An outlier moves it no more than three usual errors would.
 * Owns four costs and their covariance. Does not know sequences or clocks. Allocates nothing after construction.
 * M1 No cost is below zero: more work is never predicted to be cheaper.
 * Source: Haykin, Adaptive Filter Theory (Kalman, random-walk state); Huber's bounded influence.
 */

const NUM_COSTS = 4
/** Units in which the four features are about 1 in a usual step; keeps the covariance well conditioned. */
const UNITS = Float64Array.of(1, 64, 65_536, 16)
/** Milliseconds a unit, before the first step: a slow machine, so that the first chunks beside streams are short. */
const FIRST_GUESS = Float64Array.of(2, 32, 10, 4)
/** The guess may be wrong by tens. */
const FIRST_DEVIATION = 10
/** Relative, a step: of each cost by itself, and of the whole machine's speed. */
const OWN_DRIFT = 5e-4
const COMMON_DRIFT = 2e-2
/** Relative: of a step's time on an idle machine. */
const LEAST_ERROR = 0.02
const OUTLIER_ERRORS = 3
/** The first steps may be far from the guess, and are right. */
const TRUSTED_STEPS = 64
/** A token costs something, so that a budget of milliseconds is always one of tokens. */
const LEAST_COSTS = Float64Array.of(0, 1e-6, 0, 0)
/** Deviations that a prompt's cost is taken above its prediction when it has to fit. */
const CAUTION = 2

export class StepCostModel {
  readonly #weights: Float64Array = FIRST_GUESS.slice() // [4] ms per unit
  readonly #costs = new Float64Array(NUM_COSTS)
  readonly #covariance = new Float64Array(NUM_COSTS * NUM_COSTS)
  readonly #features = new Float64Array(NUM_COSTS)
  readonly #gain = new Float64Array(NUM_COSTS)
  /** Relative errors: of the step at hand, bounded, and the usual one. In an array, because numbers would be boxed. */
  readonly #errors = Float64Array.of(0, 1)
  #numObserved = 0

  constructor() {
    this.#price()
    for (let index = 0; index < NUM_COSTS; index++)
      this.#covariance[index * NUM_COSTS + index] = (FIRST_DEVIATION * FIRST_GUESS[index]!) ** 2
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

  /**
   * The most rows, at most `most`, from `position` on that `ms` surely pays for: what they cost is taken as high as it
   * may well be, so who knows little begins with little. Cost: O(log most).
   */
  affordableTokens(ms: number, position: number, most: number): number {
    let low = 0
    let high = most
    while (low < high) {
      const middle = low + ((high - low + 1) >> 1)
      // n rows from p on attend to n·p + n(n+1)/2 keys.
      const numKeys = middle * (position + (middle + 1) / 2)
      if (this.#highestMs(middle, numKeys) <= ms) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Of rows that come on top of a step. */
  #highestMs(numTokens: number, numKeys: number): number {
    const p = this.#covariance
    const tokens = numTokens / UNITS[1]!
    const keys = numKeys / UNITS[2]!
    const own = p[NUM_COSTS + 1]! * tokens * tokens + p[2 * NUM_COSTS + 2]! * keys * keys
    const variance = own + 2 * p[NUM_COSTS + 2]! * tokens * keys
    const deviation = Math.sqrt(Math.max(0, variance))
    return this.#costs[1]! * numTokens + this.#costs[2]! * numKeys + CAUTION * deviation
  }

  /** Learn from one step that was computed. Cost: some 60 multiplications. */
  observe(numTokens: number, numKeys: number, numLogitsRows: number, ms: number): void {
    const x = this.#features
    x[0] = 1
    x[1] = numTokens / UNITS[1]!
    x[2] = numKeys / UNITS[2]!
    x[3] = numLogitsRows / UNITS[3]!
    let predictedMs = 0
    for (let index = 0; index < NUM_COSTS; index++) predictedMs += this.#weights[index]! * x[index]!
    const scale = 1 / (0.5 + predictedMs)
    for (let index = 0; index < NUM_COSTS; index++) x[index]! *= scale
    const usual = this.#errors[1]!
    const bound =
      this.#numObserved < TRUSTED_STEPS ? Number.POSITIVE_INFINITY : OUTLIER_ERRORS * usual
    const error = Math.max(-bound, Math.min(bound, (ms - predictedMs) * scale))
    this.#errors[0] = error
    this.#errors[1] = Math.max(LEAST_ERROR, usual + 0.05 * (Math.abs(error) - usual))
    this.#drift()
    this.#learn()
    this.#price()
    this.#numObserved += 1
  }

  /** A step has passed: costs may have changed, each by itself and all of them together. */
  #drift(): void {
    const p = this.#covariance
    const w = this.#weights
    for (let row = 0; row < NUM_COSTS; row++) {
      for (let column = 0; column < NUM_COSTS; column++)
        p[row * NUM_COSTS + column]! += COMMON_DRIFT ** 2 * w[row]! * w[column]!
      // What seems to cost nothing may begin to.
      const least = 0.01 * FIRST_GUESS[row]!
      const own = OWN_DRIFT * Math.max(w[row]!, least)
      const index = row * NUM_COSTS + row
      // The first guess is as uncertain as anything gets.
      if (p[index]! < (FIRST_DEVIATION * FIRST_GUESS[row]!) ** 2) p[index]! += own * own
    }
  }

  #learn(): void {
    const error = this.#errors[0]!
    const deviation = this.#numObserved < TRUSTED_STEPS ? LEAST_ERROR : this.#errors[1]!
    const p = this.#covariance
    const x = this.#features
    const gain = this.#gain
    let denominator = deviation * deviation
    for (let row = 0; row < NUM_COSTS; row++) {
      let sum = 0
      for (let column = 0; column < NUM_COSTS; column++)
        sum += p[row * NUM_COSTS + column]! * x[column]!
      gain[row] = sum
      denominator += sum * x[row]!
    }
    for (let row = 0; row < NUM_COSTS; row++) {
      const weight = this.#weights[row]! + (gain[row]! / denominator) * error
      this.#weights[row] = Math.max(0, weight)
      for (let column = 0; column < NUM_COSTS; column++)
        p[row * NUM_COSTS + column]! -= (gain[row]! * gain[column]!) / denominator
    }
  }

  /** Weights as milliseconds of one, none below zero (M1). */
  #price(): void {
    for (let index = 0; index < NUM_COSTS; index++)
      this.#costs[index] = Math.max(LEAST_COSTS[index]!, this.#weights[index]! / UNITS[index]!)
  }
}
