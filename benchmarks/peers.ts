/** Finds the peers that are installed below one folder and starts them; names those that are not, or that cannot read. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchSystem } from './bench-system.ts'
import { startLinePeer } from './line-peer.ts'
import { startLlamaCpp } from './llama-cpp-peer.ts'

export const PEERS = ['llama.cpp', 'openvino', 'onnxruntime-genai'] as const
export type PeerName = (typeof PEERS)[number]

export interface PeerOptions {
  /** Folder that `benchmarks/README.md` tells how to fill. */
  readonly folder: string
  readonly wanted: readonly PeerName[]
  readonly threads: number
  /** Folder of this file's own scripts. */
  readonly scripts: string
  /** The file that Ingot reads, or another with the same weights for a peer that cannot read that. */
  readonly models: Readonly<Partial<Record<PeerName, string>>>
  /** Format of the weights, for the record. */
  readonly weights: string
}

export interface StartedPeers {
  readonly systems: readonly BenchSystem[]
  readonly skipped: readonly string[]
}

/** @throws Error that names the peers there are */
export function readPeerNames(text: string): readonly PeerName[] {
  if (text === 'all') return PEERS
  return text
    .split(',')
    .filter((name) => name !== '')
    .map((name) => {
      const peer = PEERS.find((known) => known === name)
      if (peer !== undefined) return peer
      throw new Error(`unknown peer "${name}": expected ${PEERS.join(', ')} or all`)
    })
}

/** A peer that does not start (a format it cannot read) is skipped with its own words. */
export async function startPeers(options: PeerOptions): Promise<StartedPeers> {
  const systems: BenchSystem[] = []
  const skipped: string[] = []
  for (const name of options.wanted) {
    const model = options.models[name]
    if (model === undefined) {
      skipped.push(`${name}: has no form of these weights here`)
      continue
    }
    const missing = [programOf(name, options.folder), model].find((path) => !existsSync(path))
    if (missing !== undefined) {
      skipped.push(`${name}: ${missing} is missing (see benchmarks/README.md)`)
      continue
    }
    try {
      systems.push(await start(name, model, options))
    } catch (error) {
      skipped.push(`${name}: did not start with ${model}: ${lastLine(error)}`)
    }
  }
  return { systems, skipped }
}

function programOf(name: PeerName, folder: string): string {
  if (name === 'llama.cpp') return join(folder, 'llama.cpp/build/bin/llama-batched-bench')
  return join(folder, 'venv/bin/python')
}

async function start(name: PeerName, model: string, options: PeerOptions): Promise<BenchSystem> {
  const { folder, threads, scripts, weights } = options
  if (name === 'llama.cpp') {
    const binaries = join(folder, 'llama.cpp/build/bin')
    return await startLlamaCpp({ binaries, model, threads, weights: `${weights}, KV f16` })
  }
  const script = name === 'openvino' ? 'openvino_peer.py' : 'onnxruntime_genai_peer.py'
  return await startLinePeer({
    name,
    command: programOf(name, folder),
    args: [join(scripts, script), model, `${threads}`],
    weights:
      name === 'openvino'
        ? `${weights} from GGUF, continuous batching`
        : 'int4 by its builder, accuracy level 4, static batch',
  })
}

/** Of what a peer wrote before it ended, the line that says why. */
function lastLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return text.trim().split('\n').at(-1)?.trim() ?? text
}
