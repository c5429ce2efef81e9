/**
 * A child of `bench:start`: loads an engine once, as an engine process does, and prints what it was as one line of JSON.
 * Its arguments: one JSON object, the engine's options.
 */

import { loadEngine } from '../src/worker/load-engine.ts'
import type { EngineDescription, EngineOptions } from '../src/worker/messages.ts'

export interface LoadedOnce {
  readonly description: EngineDescription
  /** Resident after loading, nothing computed yet. */
  readonly rssBytes: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as EngineOptions
const { executor, description } = await loadEngine(options)
const loaded: LoadedOnce = { description, rssBytes: process.memoryUsage.rss() }
console.log(JSON.stringify(loaded))
await executor.close()
