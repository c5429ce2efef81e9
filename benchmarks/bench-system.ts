/** What every measured system looks like to the harness, Ingot and peers alike. Types only. */

/** All prompts at once, greedy, past end-of-sequence tokens; every sequence gets exactly `outputTokens` tokens. */
export interface BatchRequest {
  readonly prompts: readonly (readonly number[])[]
  readonly outputTokens: number
}

export interface BatchMeasure {
  /** From submission until every sequence has its first token. */
  readonly prefillSeconds: number
  /** From then until every sequence has its last. */
  readonly decodeSeconds: number
  /** Tokens over all sequences that came within `decodeSeconds`. */
  readonly decodeTokens: number
}

export interface BenchSystem {
  readonly name: string
  readonly version: string
  /** Format of weights, activations and KV, as the system names them. */
  readonly weights: string
  run(request: BatchRequest): Promise<BatchMeasure>
  close(): Promise<void>
}
