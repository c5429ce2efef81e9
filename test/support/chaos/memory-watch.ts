/** Looks at the memory of a server and its engines again and again, and keeps the highest sums. Owns its timer. */

import { descendants, pssBytes } from './process-memory.ts'

export interface MemoryPeak {
  /** Engines together. */
  readonly engineBytes: number
  /** With the server's own process. */
  readonly totalBytes: number
  readonly numEngines: number
  readonly numSamples: number
}

const EVERY_MS = 200

export class MemoryWatch {
  readonly #pid: number
  readonly #timer: NodeJS.Timeout
  #peak: MemoryPeak = { engineBytes: 0, totalBytes: 0, numEngines: 0, numSamples: 0 }

  /** @param pid - of the server */
  constructor(pid: number) {
    this.#pid = pid
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  stop(): MemoryPeak {
    clearInterval(this.#timer)
    this.#look()
    return this.#peak
  }

  #look(): void {
    const engines = descendants(this.#pid).map(pssBytes)
    const engineBytes = engines.reduce((sum, bytes) => sum + bytes, 0)
    const totalBytes = engineBytes + pssBytes(this.#pid)
    const peak = this.#peak
    this.#peak = {
      engineBytes: Math.max(peak.engineBytes, engineBytes),
      totalBytes: Math.max(peak.totalBytes, totalBytes),
      numEngines: Math.max(peak.numEngines, engines.filter((bytes) => bytes > 0).length),
      numSamples: peak.numSamples + 1,
    }
  }
}
