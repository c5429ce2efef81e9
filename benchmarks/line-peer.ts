/**
 * A peer as a process that speaks one JSON object a line: the harness writes a batch of prompts, the peer answers with
 * what it took. Owns the child process; knows nothing of trials or of any peer's own interface.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import {
  type BatchMeasure,
  type BatchRequest,
  type BenchSystem,
  CannotMeasure,
} from './bench-system.ts'

export interface LinePeerOptions {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** What the peer computes with, for the record: format of the weights and activations. */
  readonly weights: string
}

interface ReadyLine {
  readonly ready: boolean
  readonly version: string
}

/**
 * Start the peer and wait until it has loaded its model.
 *
 * @throws Error with the end of the peer's own stderr when it dies before it is ready
 */
export async function startLinePeer(options: LinePeerOptions): Promise<BenchSystem> {
  const child = spawn(options.command, [...options.args], { stdio: ['pipe', 'pipe', 'pipe'] })
  const stderr: string[] = []
  child.stderr.on('data', (data: Buffer) => {
    stderr.push(data.toString())
    if (stderr.length > 50) stderr.shift()
  })
  const lines = new LineReader(child, createInterface({ input: child.stdout }), () =>
    stderr.join(''),
  )
  const ready = (await lines.next()) as ReadyLine
  return {
    name: options.name,
    version: ready.version,
    weights: options.weights,
    run: async (request: BatchRequest) => {
      child.stdin.write(`${JSON.stringify(request)}\n`)
      const answer = (await lines.next()) as BatchMeasure | { readonly error: string }
      if ('error' in answer) throw new CannotMeasure(answer.error)
      return answer
    },
    close: async () => {
      child.stdin.end()
      if (child.exitCode === null) await new Promise((resolve) => child.once('exit', resolve))
    },
  }
}

/** Hands out the child's JSON lines one at a time; other lines (a library's own chatter) are passed over. */
class LineReader {
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = []
  readonly #ready: unknown[] = []
  #failure: Error | null = null

  constructor(child: ChildProcess, lines: Interface, lastWords: () => string) {
    lines.on('line', (line) => {
      if (!line.startsWith('{')) return
      const value: unknown = JSON.parse(line)
      const waiter = this.#waiting.shift()
      if (waiter === undefined) this.#ready.push(value)
      else waiter.resolve(value)
    })
    const fail = (reason: string) => {
      this.#failure = new Error(`the peer ended (${reason}): ${lastWords().slice(-2000)}`)
      for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#failure)
    }
    child.once('error', (error) => fail(error.message))
    child.once('exit', (code, signal) => fail(`exit ${code ?? signal}`))
  }

  next(): Promise<unknown> {
    if (this.#ready.length > 0) return Promise.resolve(this.#ready.shift())
    if (this.#failure !== null) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }
}
