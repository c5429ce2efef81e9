/**
 * Callers who ask for the same thing at the same time share one run of it.
 *
 * Owns the runs under way. Knows nothing of what runs.
 * I1: a run is aborted when its last caller has gone, not before.
 * I2: a listener that throws fails its own caller only.
 */

import type { ProgressListener } from './sources/source-fetcher.ts'

type Start<T> = (onProgress: ProgressListener, signal: AbortSignal) => Promise<T>

interface Caller {
  readonly onProgress: ProgressListener
  readonly fail: (reason: unknown) => void
}

interface Flight<T> {
  readonly controller: AbortController
  readonly callers: Set<Caller>
  readonly result: Promise<T>
}

export class SingleFlight<T> {
  private readonly flights: Map<string, Flight<T>>

  constructor() {
    this.flights = new Map()
  }

  /** Join the run of `key`, or start it. Rejects with the signal's reason as soon as that is aborted. */
  join(
    key: string,
    start: Start<T>,
    options: { onProgress: ProgressListener; signal: AbortSignal | undefined },
  ): Promise<T> {
    const flight = this.flights.get(key) ?? this.launch(key, start)
    const { signal, onProgress } = options
    return new Promise<T>((resolve, reject) => {
      const caller: Caller = { onProgress, fail: leave }
      const onAbort = () => leave(signal?.reason)
      flight.callers.add(caller)
      signal?.addEventListener('abort', onAbort, { once: true })
      flight.result
        .then(resolve, reject)
        .finally(() => signal?.removeEventListener('abort', onAbort))

      const { flights } = this
      function leave(reason: unknown): void {
        reject(reason)
        flight.callers.delete(caller)
        if (flight.callers.size > 0) return
        // A new caller must not join a run that is being ended.
        if (flights.get(key) === flight) flights.delete(key)
        flight.controller.abort(reason)
      }
    })
  }

  /** End every run. */
  abort(reason: unknown): void {
    for (const flight of this.flights.values()) flight.controller.abort(reason)
  }

  private launch(key: string, start: Start<T>): Flight<T> {
    const controller = new AbortController()
    const callers = new Set<Caller>()
    const onProgress: ProgressListener = (stage, doneBytes, totalBytes) => {
      for (const caller of [...callers]) {
        try {
          caller.onProgress(stage, doneBytes, totalBytes)
        } catch (error) {
          caller.fail(error)
        }
      }
    }
    const result = start(onProgress, controller.signal).finally(() => {
      if (this.flights.get(key) === flight) this.flights.delete(key)
    })
    const flight: Flight<T> = { controller, callers, result }
    this.flights.set(key, flight)
    return flight
  }
}
