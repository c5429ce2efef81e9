/** What every measured system looks like to the harness, Ingot and peers alike. */

/** All prompts at once, greedy, past end-of-sequence tokens; every sequence gets exactly `outputTokens` tokens. */
export interface BatchRequest {
  readonly prompts: readonly (readonly number[])[]
  readonly outputTokens: number
  /** Prompts of one output token each that are added when every sequence of `prompts` has its first token. */
  readonly late?: readonly (readonly number[])[]
}

export interface BatchMeasure {
  /** From submission until every sequence of `prompts` has its first token. */
  readonly prefillSeconds: number
  /** From then until every sequence, a late one too, has its last. */
  readonly decodeSeconds: number
  /** Tokens over all sequences that came within `decodeSeconds`. */
  readonly decodeTokens: number
}

export interface BenchSystem {
  readonly name: string
  readonly version: string
  /** Format of weights, activations and KV, as the system names them. */
  readonly weights: string
  /** @throws CannotMeasure when this system has no such shape; it is then left out of the trial and named */
  run(request: BatchRequest): Promise<BatchMeasure>
  close(): Promise<void>
}

/** A system that works, but not at this shape. */
export class CannotMeasure extends Error {
  override readonly name = 'CannotMeasure'
}
