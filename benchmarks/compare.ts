/**
 * One comparison from a model to a record: Ingot's engine in this process, peers beside it, limits of the machine, quality.
 * Owns the systems while it runs.
 */

import { existsSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { KvDtype } from '../src/base/kv-dtype.ts'
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { estimateWeights } from '../src/checkpoint/memory-estimate.ts'
import { openCheckpoint } from '../src/checkpoint/open-checkpoint.ts'
import { openModelAccess } from '../src/cli/model-access.ts'
import type { StoreConfig } from '../src/config/runtime-config.ts'
import { PLAIN_SCHEDULING } from '../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../src/worker/messages.ts'
import { startIngot } from './ingot-system.ts'
import { judgeLimits, judgeRatios } from './judge.ts'
import { type MachineLimits, measureLimits } from './limits.ts'
import { describeMachine } from './machine.ts'
import { type PeerName, startPeers } from './peers.ts'
import type { Preset } from './presets.ts'
import { measureQuality } from './quality.ts'
import type { BenchRecord } from './report.ts'
import { measureThroughput, type Throughput } from './throughput.ts'
import type { BatchTrial } from './trials.ts'
import { workPerToken } from './work-per-token.ts'

export interface BenchModel {
  readonly path: string
  readonly checkpoint: Checkpoint
  readonly record: BenchRecord['model']
}

export interface CompareOptions {
  readonly root: string
  readonly store: StoreConfig
  readonly threads: number
  readonly rounds: number
  readonly peers: readonly PeerName[]
  readonly peersFolder: string
  readonly activations: EngineOptions['activations']
  readonly kvDtype: KvDtype
  readonly withLimits: boolean
  readonly withQuality: boolean
  readonly onProgress: (line: string) => void
}

export async function openModel(store: StoreConfig, written: string | null): Promise<BenchModel> {
  const access = await openModelAccess(store)
  const reference = access.reference(written)
  const { path, digest } = await access.fetch(reference)
  await access.store.close()
  const checkpoint = await openCheckpoint(path)
  if (checkpoint.kind === 'onnx') throw new Error(`${path} is an exported graph: not measured here`)
  const formats = estimateWeights(checkpoint).formats.map(({ format }) => format)
  const record = { id: basename(reference.name), digest, quantization: formats.join('+') }
  return { path, checkpoint, record }
}

export function engineOptions(path: string, options: CompareOptions): EngineOptions {
  return {
    checkpointPath: path,
    threads: options.threads,
    activations: options.activations,
    kvDtype: options.kvDtype,
    kvMemoryBytes: 2 * 2 ** 30,
    blockSize: 32,
    maxNumBatchedTokens: 512,
    maxNumSeqs: 64,
    maxContextTokens: 8192,
    eosTokenIds: [],
    scheduling: PLAIN_SCHEDULING,
  }
}

/** Ingot alone, or beside the peers that are asked for, without targets. */
export async function compareAdHoc(
  written: string | null,
  trials: readonly BatchTrial[],
  options: CompareOptions,
): Promise<BenchRecord> {
  const withPeers = options.peers.length > 0
  // Beside peers, every system reads the same file.
  const shared = join(options.peersFolder, 'smollm2-q4_0.gguf')
  const model = await openModel(options.store, written ?? (withPeers ? shared : null))
  const preset: Preset = {
    name: withPeers ? 'throughput-peers' : 'throughput',
    question: 'chosen trials',
    model: { file: model.path },
    weights: model.record.quantization,
    trials,
    ratios: [],
    limits: [],
  }
  return compare(preset, model, options)
}

export async function comparePreset(preset: Preset, options: CompareOptions): Promise<BenchRecord> {
  const { model } = preset
  const written = 'catalog' in model ? model.catalog : join(options.peersFolder, model.file)
  return compare(preset, await openModel(options.store, written), options)
}

async function compare(
  preset: Preset,
  model: BenchModel,
  options: CompareOptions,
): Promise<BenchRecord> {
  const { threads, peersFolder, onProgress } = options
  const skipped: string[] = []
  const before = options.withLimits ? await limitsOrWhy(options, skipped) : null
  const engine = engineOptions(model.path, options)
  const quality = options.withQuality ? await measureQuality({ engine, peersFolder }) : null
  const ingot = await startIngot(engine, describeMachine().commit)
  const gguf = options.peers.length > 0 ? await named(model, peersFolder) : model.path
  const peers = await startPeers({
    folder: peersFolder,
    wanted: options.peers,
    threads,
    scripts: join(options.root, 'benchmarks/peers'),
    models: {
      'llama.cpp': gguf,
      openvino: preset.openvinoFile === undefined ? gguf : join(peersFolder, preset.openvinoFile),
      ...(preset.onnxFolder === undefined
        ? {}
        : { 'onnxruntime-genai': join(peersFolder, preset.onnxFolder) }),
    },
    weights: preset.weights,
  })
  for (const line of peers.skipped) onProgress(`skipped: ${line}`)
  const systems = [ingot, ...peers.systems]
  const { vocabSize } = ingot.description
  const { trials } = preset
  let measured: Throughput
  try {
    const { rounds } = options
    measured = await measureThroughput({ trials, systems, rounds, vocabSize, onProgress })
  } finally {
    for (const system of systems) await system.close()
  }
  // Before and after: a machine that was disturbed once shows less than it can.
  const limits = before === null ? null : best(before, await limitsOrWhy(options, skipped))
  const { results } = measured
  const work = workPerToken(model.checkpoint.tensors.values())
  return {
    benchmark: `engine-${preset.name}`,
    machine: describeMachine(),
    model: model.record,
    threads,
    cacheState: 'weights resident, no prefix cache, fresh prompts each round',
    systems: systems.map(({ name, version, weights }) => ({ name, version, weights })),
    results,
    skipped: [...skipped, ...peers.skipped, ...measured.skipped],
    question: preset.question,
    ratios: judgeRatios(preset.ratios, results, 'ingot'),
    ...(limits === null ? {} : { limits, work }),
    ...(limits === null
      ? {}
      : { shares: judgeLimits(preset.limits, results, 'ingot', limits, work) }),
    ...(quality === null ? {} : { quality }),
  }
}

async function limitsOrWhy(
  { root, store, threads }: CompareOptions,
  skipped: string[],
): Promise<MachineLimits | null> {
  try {
    return await measureLimits(root, threads, join(store.home, 'cargo-target'))
  } catch (error) {
    skipped.push(`limits of the machine: ${error instanceof Error ? error.message : error}`)
    return null
  }
}

function best(one: MachineLimits, other: MachineLimits | null): MachineLimits {
  if (other === null) return one
  const readBytesPerSecond = Math.max(one.readBytesPerSecond, other.readBytesPerSecond)
  if (one.int8MacsPerSecond === null || other.int8MacsPerSecond === null) {
    return { ...one, readBytesPerSecond }
  }
  const int8MacsPerSecond = Math.max(one.int8MacsPerSecond, other.int8MacsPerSecond)
  return { ...one, readBytesPerSecond, int8MacsPerSecond }
}

/** Peers tell formats by a file's name, which a stored blob does not have: a link in their folder has. */
async function named({ path, record }: BenchModel, folder: string): Promise<string> {
  if (path.endsWith('.gguf') || !existsSync(folder)) return path
  const link = join(folder, `${record.id}-${record.digest.slice(0, 8)}.gguf`)
  if (!existsSync(link)) await symlink(path, link)
  return link
}
