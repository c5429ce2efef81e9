/**
 * The step traces of all replicas: switches them on and off, and remembers the file that each model's last one was
 * written to. Knows replicas by name only while they live. Owns no file.
 */

import type { TraceAction, TraceAnswer } from '../worker/messages.ts'

export type { TraceAction } from '../worker/messages.ts'

/** The part of a replica that it switches. */
export interface TracedReplica {
  /** @throws ServingError while no engine runs */
  trace(action: TraceAction): Promise<TraceAnswer>
}

export interface ReplicaTrace extends TraceAnswer {
  readonly modelId: string
  readonly replica: number
}

interface Entry {
  readonly modelId: string
  readonly index: number
  readonly replica: TracedReplica
}

export class StepTraces {
  readonly #entries = new Set<Entry>()
  /** By model; the newest is last. */
  readonly #files = new Map<string, string>()

  /** A replica lives. @returns to be called when it does no more */
  add(modelId: string, index: number, replica: TracedReplica): () => void {
    const entry = { modelId, index, replica }
    this.#entries.add(entry)
    return () => this.#entries.delete(entry)
  }

  /**
   * Switch the traces of one model's replicas, or of all.
   *
   * @returns one a replica; empty when there is none of that name. One that cannot be reached says why
   */
  switch(action: TraceAction, modelId: string | null): Promise<readonly ReplicaTrace[]> {
    const asked = [...this.#entries].filter((one) => modelId === null || one.modelId === modelId)
    return Promise.all(asked.map((entry) => this.#switchOne(action, entry)))
  }

  /** File of the last trace of a model, or of all; null when none was written. */
  latest(modelId: string | null): string | null {
    if (modelId !== null) return this.#files.get(modelId) ?? null
    return [...this.#files.values()].at(-1) ?? null
  }

  async #switchOne(action: TraceAction, { modelId, index, replica }: Entry): Promise<ReplicaTrace> {
    try {
      const answer = await replica.trace(action)
      if (answer.file !== null) {
        this.#files.delete(modelId)
        this.#files.set(modelId, answer.file)
      }
      return { modelId, replica: index, ...answer }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      return { modelId, replica: index, isOn: false, file: null, reason }
    }
  }
}
