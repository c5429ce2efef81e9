/**
 * One HTTP request's generation, whatever its dialect: starts its prompts, waits until all are admitted, then yields
 * their events until all choices have ended.
 *
 * Owns nothing but the running iterators. Does not know sockets or dialects.
 *
 * I1 `start` throws before anything is answered when any prompt is refused; the others are cancelled then.
 * I2 the events end normally only after one `done` a prompt; a choice that ends with `error` or `cancelled` throws.
 */

import { invariant } from '../base/errors.ts'
import type { Deployments } from '../deployment/deployments.ts'
import type { GenerationEvent, GenerationRequest } from '../deployment/generation.ts'
import { serverError } from './errors.ts'
import { closeAll, mergeEvents, type PromptEvent } from './event-merger.ts'

export type StartedEvent = Extract<GenerationEvent, { type: 'started' }>

export interface GenerationRun {
  /** One a prompt, in the order of the requests. */
  readonly started: readonly StartedEvent[]
  /** Everything after `started`; to be iterated once. */
  readonly events: AsyncGenerator<PromptEvent, void, undefined>
}

/**
 * @param requests - one a prompt, at least one
 * @param onWaiting - a prompt waits for its model to be loaded; may be called more than once
 * @throws ServingError from the deployment, or the signal's reason
 */
export async function startGeneration(
  deployments: Deployments,
  requests: readonly GenerationRequest[],
  signal: AbortSignal,
  onWaiting: () => void = () => {},
): Promise<GenerationRun> {
  const sources = requests.map((request) =>
    deployments.generate(request, signal)[Symbol.asyncIterator](),
  )
  try {
    const all = Promise.all(sources.map((source) => startOf(source, onWaiting)))
    const started = await orAborted(all, signal)
    return { started, events: checked(mergeEvents(sources, signal), requests.length) }
  } catch (error) {
    closeAll(sources)
    throw error
  }
}

async function startOf(
  source: AsyncIterator<GenerationEvent>,
  onWaiting: () => void,
): Promise<StartedEvent> {
  for (;;) {
    const result = await source.next()
    const event = result.done === true ? null : result.value
    if (event?.type === 'waiting') {
      onWaiting()
      continue
    }
    invariant(event?.type === 'started', 'I1', 'a generation begins with `started`')
    return event
  }
}

async function* checked(
  events: AsyncGenerator<PromptEvent, void, undefined>,
  numPrompts: number,
): AsyncGenerator<PromptEvent, void, undefined> {
  let numDone = 0
  for await (const item of events) {
    const { event } = item
    yield item
    if (event.type === 'done') numDone += 1
    if (event.type !== 'finished') continue
    const details = { choice: event.choice }
    if (event.reason === 'error') throw serverError('SERVER_GENERATION_FAILED', { details })
    if (event.reason === 'cancelled') throw serverError('SERVER_GENERATION_CANCELLED', { details })
  }
  invariant(numDone === numPrompts, 'I2', 'a generation ended without its `done` event')
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
