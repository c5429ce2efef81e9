/** Requests to a pool of endpoints, and what becomes of each. */

import type { EndpointPool } from '../../src/deployment/endpoints/endpoint-pool.ts'
import type { GenerationEvent, GenerationRequest } from '../../src/deployment/generation.ts'
import { request } from './deployment-stage.ts'

/** What became of one request. */
export interface Outcome {
  readonly model: string
  readonly events: GenerationEvent[]
  readonly controller: AbortController
  /** `null` while it is open; `done`, or the error that it ended with. */
  end: 'done' | Error | null
}

/** Send a request to a pool and note what comes of it. */
export function ask(
  pool: EndpointPool,
  model: string,
  change: Partial<GenerationRequest> = {},
): Outcome {
  const controller = new AbortController()
  const outcome: Outcome = { model, events: [], controller, end: null }
  const asked = request({ requestedModel: model, ...change })
  const read = async (): Promise<void> => {
    for await (const event of pool.generate(asked, controller.signal)) outcome.events.push(event)
  }
  read().then(
    () => {
      if (outcome.end !== null) throw new Error('a request ended twice')
      outcome.end = 'done'
    },
    (error: unknown) => {
      if (outcome.end !== null) throw new Error('a request ended twice')
      outcome.end = error instanceof Error ? error : new Error(String(error))
    },
  )
  return outcome
}
