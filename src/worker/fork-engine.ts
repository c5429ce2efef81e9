/** Makes engine processes, of which none has been told yet what to load. Owns none but a spare one. */

import { type ChildProcess, fork } from 'node:child_process'

export interface EngineProgram {
  /** JavaScript file of the engine process. */
  readonly entryPath: string
  /** Its whole environment. */
  readonly environment: Readonly<Record<string, string>>
  /** A program and its arguments that start it and become it, such as `taskset -c 0-3`. */
  readonly launcher?: readonly string[]
}

/**
 * V8 collects early and keeps its heap small, which costs a loop that allocates nothing no time. Without it what messages
 * leave behind gathers for some 10,000 requests before it is collected for the first time: 36 MB, measured 2026-11-28.
 */
const HEAP_FLAGS = ['--optimize-for-size']

export function forkEngine({ entryPath, environment, launcher = [] }: EngineProgram): ChildProcess {
  const [program, ...programArgs] = launcher
  // Flags of the parent, such as an inspector's port, are not the child's.
  const started =
    program === undefined
      ? { execArgv: HEAP_FLAGS }
      : { execPath: program, execArgv: [...programArgs, process.execPath, ...HEAP_FLAGS] }
  return fork(entryPath, [], {
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: environment,
    ...started,
  })
}

/**
 * A process that is started before it is known what it will load: Node and the engine's modules are there by the time the
 * plan is made. The first engine becomes it. Owns it until then; `close` ends one that nobody took.
 */
export class SpareEngine {
  readonly #entryPath: string
  #child: ChildProcess | null

  constructor(entryPath: string) {
    this.#entryPath = entryPath
    this.#child = forkEngine({ entryPath, environment: {} })
    // One that cannot be made is told by the next that is tried.
    this.#child.on('error', () => {})
  }

  /** @returns `null` when it is taken, has ended, or another program is wanted */
  take({ entryPath, environment, launcher = [] }: EngineProgram): ChildProcess | null {
    const child = this.#child
    const isPlain = launcher.length === 0 && Object.keys(environment).length === 0
    if (child === null || !isPlain || entryPath !== this.#entryPath) return null
    this.#child = null
    const isAlive = child.pid !== undefined && child.exitCode === null && child.signalCode === null
    return isAlive && child.connected ? child : null
  }

  close(): void {
    this.#child?.kill('SIGKILL')
    this.#child = null
  }
}
