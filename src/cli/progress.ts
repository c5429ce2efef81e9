/**
 * Shows how far something long has come: a bar on a terminal, a plain line now and then elsewhere (logs, containers).
 * Writes to standard error, so that standard output stays for results.
 */

import { SingleBar } from 'cli-progress'
import { formatBytes } from '../config/option.ts'

/** Between two plain lines, milliseconds: a log that is read should not be flooded. */
const LINE_INTERVAL_MS = 5000

export interface ProgressOutput {
  readonly isTTY?: boolean | undefined
  write(text: string): unknown
}

export class Progress {
  readonly #output: ProgressOutput
  #stage = ''
  #bar: SingleBar | null = null
  #lastLineMs = Number.NEGATIVE_INFINITY
  #isEnded = false

  constructor(output: ProgressOutput = process.stderr) {
    this.#output = output
  }

  /** @param totalBytes - `null` while it is not known */
  bytes(stage: string, doneBytes: number, totalBytes: number | null): void {
    const amount =
      totalBytes === null
        ? formatBytes(doneBytes)
        : `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`
    this.#show(stage, totalBytes === null ? null : doneBytes / Math.max(1, totalBytes), amount)
  }

  /** @param fraction - 0 … 1 */
  fraction(stage: string, fraction: number): void {
    this.#show(stage, fraction, `${Math.floor(fraction * 100)} %`)
  }

  /** The last stage is over. */
  stop(): void {
    this.#bar?.stop()
    this.#bar = null
    this.#stage = ''
  }

  /** Nothing is shown any more: an engine that loads again later is the log's business. */
  end(): void {
    this.stop()
    this.#isEnded = true
  }

  #show(stage: string, fraction: number | null, amount: string): void {
    if (this.#isEnded) return
    const isNew = stage !== this.#stage
    if (isNew) {
      this.stop()
      this.#stage = stage
      this.#lastLineMs = Number.NEGATIVE_INFINITY
    }
    if (this.#output.isTTY === true) this.#showBar(stage, fraction, amount)
    else this.#showLine(stage, amount, isNew || fraction === 1)
  }

  #showBar(stage: string, fraction: number | null, amount: string): void {
    if (this.#bar === null) {
      const format = `{stage} {bar} {amount}`
      this.#bar = new SingleBar({
        format,
        hideCursor: true,
        barsize: 28,
        fps: 8,
        forceRedraw: true,
      })
      this.#bar.start(1000, 0, { stage: stage.padEnd(10), amount })
    }
    this.#bar.update(Math.round((fraction ?? 0) * 1000), { amount })
  }

  #showLine(stage: string, amount: string, isDue: boolean): void {
    const nowMs = performance.now()
    if (!isDue && nowMs - this.#lastLineMs < LINE_INTERVAL_MS) return
    this.#lastLineMs = nowMs
    this.#output.write(`${stage}: ${amount}\n`)
  }
}
