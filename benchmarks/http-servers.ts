/** Servers under load as child processes: Ingot's own and llama.cpp's. Started, waited for, and always ended. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export interface HttpServerUnderTest {
  readonly name: string
  readonly baseUrl: string
  /** As the server calls it. */
  readonly model: string
  /** Requests a second to begin the search with. */
  readonly firstRate: number
  /** Of the process that was started. */
  readonly pid: number
  close(): Promise<void>
}

export interface ServerCommand {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly port: number
  readonly firstRate: number
  /** How often health is asked while it starts; default 200. */
  readonly pollMs?: number
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
    await sleep(options.pollMs ?? 200)
  }
  return {
    name: options.name,
    baseUrl: `${origin}/v1`,
    model: await firstModel(origin),
    firstRate: options.firstRate,
    pid: child.pid ?? 0,
    close: () => end(child),
  }
}

async function firstModel(origin: string): Promise<string> {
  const response = await fetch(`${origin}/v1/models`)
  const { data } = (await response.json()) as { readonly data: readonly { readonly id: string }[] }
  return data[0]?.id ?? ''
}

/** How Ingot is started by benchmarks: through its command, as users do. */
export function ingotCommand(root: string, port: number, args: readonly string[]): ServerCommand {
  const main = [join(root, 'bin/ingot.mjs'), 'serve', '--port', `${port}`, '--log-level', 'error']
  return { name: 'ingot', command: process.execPath, args: [...main, ...args], port, firstRate: 4 }
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
