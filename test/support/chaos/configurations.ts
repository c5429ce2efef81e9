/**
 * The configuration of the chaos test: two models in six variants under three endpoints, aliases across them, and a budget
 * that fits some. Same names in every version, so that no reload makes a request wrong. Text only.
 */

export interface ChaosModels {
  /** Paths of weights. */
  readonly small: string
  readonly other: string
}

export const MEBIBYTE: number = 2 ** 20
/** Of engines. Two of the endpoints fit beside each other, never all three. */
export const BUDGET_BYTES: number = 720 * MEBIBYTE
/** The server's own process, which no budget of models counts: a tokenizer a model, and its heap between collections. */
export const SERVER_BYTES: number = 400 * MEBIBYTE
/** Seconds unused after which everything is unloaded. */
export const IDLE_SECONDS = 5

export const ENDPOINTS = ['small', 'exact', 'other'] as const
export const TARGETS = [...ENDPOINTS, 'chat', 'gpt-4o-mini', 'eight-bit'] as const

/** @param version - what a reload changes: limits, an order, a time; never a name */
export function configuration({ small, other }: ChaosModels, version: number): string {
  const isOdd = version % 2 === 1
  return `# version ${version}
pool:
  memoryBudget: ${BUDGET_BYTES}
endpoints:
  small:
    model: ${JSON.stringify(small)}
    kvMemory: 48MiB
    maxContext: 512
    maxSequences: ${isOdd ? 8 : 12}
    inactiveTimeout: ${IDLE_SECONDS}s
    coldStartWait: 10s
    variants:
      - weights: source
      - weights: int4
  exact:
    model: ${JSON.stringify(small)}
    kvMemory: 48MiB
    maxContext: 512
    maxQueue: ${isOdd ? 32 : 64}
    inactiveTimeout: ${IDLE_SECONDS}s
    coldStartWait: 10s
    variants:
      - weights: bf16
      - weights: int8
  other:
    model: ${JSON.stringify(other)}
    kvMemory: 32MiB
    maxContext: 512
    inactiveTimeout: ${IDLE_SECONDS}s
    coldStartWait: 10s
    variants:
      - weights: source
      - weights: int8
aliases:
  chat: [small, exact]
  gpt-4o-mini:
    targets: ${isOdd ? '[other, small]' : '[small, other]'}
  eight-bit:
    targets: [other]
    quantizations: [int8]
`
}

/** Wrong in its last line alone: nothing of it may come to be. */
export function brokenConfiguration(models: ChaosModels): string {
  return `${configuration(models, 0)}  small: [nowhere]\n`
}
