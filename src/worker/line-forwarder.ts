/**
 * Cuts what a child process writes into lines for the log, and remembers the last ones for the error that tells of its
 * end. Owns at most one unfinished line and `KEPT_LINES` finished ones, whatever the child writes.
 */

import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

const MAX_LINE_CHARACTERS = 4096
const KEPT_LINES = 3

export class LineForwarder {
  readonly #onLine: (line: string) => void
  readonly #lastLines: string[] = []

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** The last lines, oldest first; empty when nothing was written. */
  get lastWords(): string {
    return this.#lastLines.join(' | ')
  }

  forward(stream: Readable): void {
    const decoder = new StringDecoder('utf8')
    let rest = ''
    stream.on('data', (chunk: Buffer) => {
      const lines = (rest + decoder.write(chunk)).split('\n')
      rest = lines.pop() ?? ''
      // A line without an end must not grow for ever.
      if (rest.length > MAX_LINE_CHARACTERS) lines.push(rest)
      if (rest.length > MAX_LINE_CHARACTERS) rest = ''
      for (const line of lines) this.#give(line)
    })
    stream.on('end', () => this.#give(rest))
  }

  #give(line: string): void {
    const shown = line.trimEnd().slice(0, MAX_LINE_CHARACTERS)
    if (shown === '') return
    this.#lastLines.push(shown)
    if (this.#lastLines.length > KEPT_LINES) this.#lastLines.shift()
    this.#onLine(shown)
  }
}
