/**
 * Several requests' event streams as one, in the order in which events happen: a completions call with a list of
 * prompts is one answer.
 *
 * Owns the iterators it is given and closes them. A source is pulled only after its last event was taken, so a slow
 * reader slows its sources and at most one event a source waits here.
 *
 * I1 events of one source keep their order.
 * I2 an abort ends the iteration at once with the signal's reason, whatever the sources do.
 */

import type { GenerationEvent } from '../deployment/generation.ts'

export interface PromptEvent {
  /** Index of the prompt within the HTTP request. */
  readonly prompt: number
  readonly event: GenerationEvent
}

type Arrival = { readonly prompt: number } & (
  | { readonly result: IteratorResult<GenerationEvent> }
  | { readonly error: unknown }
)

export async function* mergeEvents(
  sources: readonly AsyncIterator<GenerationEvent>[],
  signal: AbortSignal,
): AsyncGenerator<PromptEvent, void, undefined> {
  const arrivals: Arrival[] = []
  let wake = (): void => {}
  const pull = (source: AsyncIterator<GenerationEvent>, prompt: number): void => {
    source.next().then(
      (result) => {
        arrivals.push({ prompt, result })
        wake()
      },
      (error: unknown) => {
        arrivals.push({ prompt, error })
        wake()
      },
    )
  }
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort)
  try {
    let numOpen = sources.length
    sources.forEach(pull)
    while (numOpen > 0) {
      if (signal.aborted) throw signal.reason
      const arrival = arrivals.shift()
      if (arrival === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      if ('error' in arrival) throw arrival.error
      if (arrival.result.done === true) {
        numOpen -= 1
        continue
      }
      yield { prompt: arrival.prompt, event: arrival.result.value }
      const source = sources[arrival.prompt]
      if (source !== undefined) pull(source, arrival.prompt)
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    closeAll(sources)
  }
}

/** Not awaited: a generator that is stuck in the middle answers `return` only when it comes loose. */
export function closeAll(sources: readonly AsyncIterator<GenerationEvent>[]): void {
  for (const source of sources) {
    // A failure to close concerns nobody any more: the answer is complete, refused or aborted.
    source.return?.().then(undefined, () => {})
  }
}
