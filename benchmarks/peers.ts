/** Finds the peers that are installed below one folder and starts them; names those that are not. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchSystem } from './bench-system.ts'
import { startLinePeer } from './line-peer.ts'
import { startLlamaCpp } from './llama-cpp-peer.ts'

export interface PeerOptions {
  /** Folder that `benchmarks/README.md` tells how to fill. */
  readonly folder: string
  readonly wanted: readonly string[]
  readonly threads: number
  /** Folder of this file's own scripts. */
  readonly scripts: string
}

export interface StartedPeers {
  readonly systems: readonly BenchSystem[]
  readonly skipped: readonly string[]
}

/** Weights that the peers run: the same tensors requantized to the format each is fastest with. */
export const PEER_MODEL = 'smollm2-q4_0.gguf'

export async function startPeers(options: PeerOptions): Promise<StartedPeers> {
  const systems: BenchSystem[] = []
  const skipped: string[] = []
  const model = join(options.folder, PEER_MODEL)
  for (const name of options.wanted) {
    const needs = requirements(name, options.folder)
    const missing = [...needs, model].find((path) => !existsSync(path))
    if (missing !== undefined)
      skipped.push(`${name}: ${missing} is missing (see benchmarks/README.md)`)
    else systems.push(await start(name, model, options))
  }
  return { systems, skipped }
}

function requirements(name: string, folder: string): string[] {
  if (name === 'llama.cpp') return [join(folder, 'llama.cpp/build/bin/llama-batched-bench')]
  if (name === 'openvino') return [join(folder, 'venv/bin/python')]
  throw new Error(`unknown peer "${name}": expected llama.cpp or openvino`)
}

async function start(name: string, model: string, options: PeerOptions): Promise<BenchSystem> {
  const { folder, threads, scripts } = options
  if (name === 'llama.cpp') {
    const binaries = join(folder, 'llama.cpp/build/bin')
    return await startLlamaCpp({
      binaries,
      model,
      threads,
      weights: 'Q4_0, head too',
    })
  }
  return await startLinePeer({
    name,
    command: join(folder, 'venv/bin/python'),
    args: [join(scripts, 'openvino_peer.py'), model, `${threads}`],
    weights: 'Q4_0 GGUF, continuous batching',
  })
}
