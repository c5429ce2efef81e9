/**
 * A real `ingot serve` process on a free port, as a user would start it, with its own audit file. Tests talk to it over
 * HTTP only; what it needs to know of the process (children, exit code) comes from the operating system.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const MODEL_ID = 'smollm2-135m-instruct'
const MAIN = join(import.meta.dirname, '../../dist/app/main.js')
const START_MS = 120_000

export interface ReplicaView {
  readonly state: string
  readonly pid: number | null
  readonly restarts: number
  readonly running: number
  readonly waiting: number
  readonly free_blocks: number
  readonly blocks: number
}

export interface HealthView {
  readonly status: string
  readonly open_requests: number
  readonly replicas: readonly ReplicaView[]
}

export class ServerProcess {
  readonly url: string
  /** What it printed at start. */
  readonly startText: string
  readonly startMs: number
  readonly child: ChildProcess
  readonly #folder: string
  readonly #stderr: string[]

  private constructor(parts: {
    url: string
    startText: string
    startMs: number
    child: ChildProcess
    folder: string
    stderr: string[]
  }) {
    this.url = parts.url
    this.startText = parts.startText
    this.startMs = parts.startMs
    this.child = parts.child
    this.#folder = parts.folder
    this.#stderr = parts.stderr
  }

  /** @param model - a path; default: the test model; `null` = what a configuration file in `flags` declares */
  static async start(
    flags: readonly string[] = [],
    model: string | null = process.env.INGOT_TEST_MODEL ?? MODEL_ID,
  ): Promise<ServerProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'ingot-serve-'))
    const audit = ['--audit-log', join(folder, 'audit.jsonl'), '--log-level', 'warn']
    const named = model === null ? [] : [model, '--served-model-name', MODEL_ID]
    const args = [MAIN, 'serve', ...named, '--port', '0', ...audit, ...flags]
    const startedMs = performance.now()
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const stderr: string[] = []
    createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line))
    const lines: string[] = []
    const ready = new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        lines.push(line)
        const address = /^ready on (http:\S+?),/.exec(line)?.[1]
        if (address !== undefined) resolve(address)
      })
      child.once('exit', (code, signal) =>
        reject(new Error(`serve ended with ${code ?? signal}:\n${stderr.join('\n')}`)),
      )
      setTimeout(
        () => reject(new Error(`not ready in time:\n${stderr.join('\n')}`)),
        START_MS,
      ).unref()
    })
    const url = await ready
    const startMs = performance.now() - startedMs
    return new ServerProcess({ url, startText: lines.join('\n'), startMs, child, folder, stderr })
  }

  /** Everything it logged. */
  get log(): string {
    return this.#stderr.join('\n')
  }

  get auditFile(): string {
    return join(this.#folder, 'audit.jsonl')
  }

  async health(): Promise<HealthView> {
    return (await (await fetch(`${this.url}/health`)).json()) as HealthView
  }

  async replica(): Promise<ReplicaView> {
    const [replica] = (await this.health()).replicas
    if (replica === undefined) throw new Error('the server reports no replica')
    return replica
  }

  /** Value of an unlabelled or single series in /metrics. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const line = text
      .split('\n')
      .find((row) => row.startsWith(`${name}{`) || row.startsWith(`${name} `))
    if (line === undefined) throw new Error(`no metric ${name}`)
    return Number(line.slice(line.lastIndexOf(' ') + 1))
  }

  async waitUntil(what: string, isTrue: (health: HealthView) => boolean): Promise<HealthView> {
    const deadlineMs = performance.now() + 60_000
    for (;;) {
      const health = await this.health()
      if (isTrue(health)) return health
      if (performance.now() > deadlineMs) {
        throw new Error(`never ${what}: ${JSON.stringify(health)}\n${this.log}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  /** @returns the exit code */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode
    const exit = once(this.child, 'exit')
    this.child.kill(signal)
    const [code] = (await exit) as [number | null]
    await rm(this.#folder, { recursive: true, force: true })
    return code
  }
}
