/** Servers under load as child processes: Ingot's own and llama.cpp's. Started, waited for, and always ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

export interface HttpServerUnderTest {
  readonly name: string
  readonly baseUrl: string
  readonly model: string
  close(): Promise<void>
}

export interface ServerCommand {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly port: number
  readonly model: string
}

const START_TIMEOUT_MS = 120_000

/** @throws Error with the end of the server's stderr when it ends or is not healthy in two minutes */
export async function startServer(options: ServerCommand): Promise<HttpServerUnderTest> {
  const child = spawn(options.command, [...options.args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.on('data', (data: Buffer) => {
    stderr = (stderr + data.toString()).slice(-4000)
  })
  const origin = `http://127.0.0.1:${options.port}`
  const deadlineMs = performance.now() + START_TIMEOUT_MS
  while (!(await isHealthy(origin))) {
    const isOver = child.exitCode !== null || performance.now() > deadlineMs
    if (isOver) {
      child.kill('SIGKILL')
      throw new Error(`${options.name} did not start: ${stderr}`)
    }
    await sleep(200)
  }
  return {
    name: options.name,
    baseUrl: `${origin}/v1`,
    model: options.model,
    close: () => end(child),
  }
}

async function isHealthy(origin: string): Promise<boolean> {
  try {
    const response = await fetch(`${origin}/health`)
    return response.ok && ((await response.json()) as { status?: string }).status === 'ok'
  } catch {
    // Not listening yet.
    return false
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGTERM')
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await once(child, 'exit')
  clearTimeout(killer)
}
