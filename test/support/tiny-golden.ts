/**
 * The tiny checkpoints of ../shared/golden/tiny with what transformers computed from them in f32, or those of the folder
 * that TINY_CHECKPOINTS names (make_tiny_checkpoints.py). Reads their expected values itself: integers of 64 bits are no
 * weights, so the checkpoint room refuses them.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SHARED = fileURLToPath(new URL('../../../shared/golden/tiny', import.meta.url))
const ROOT = process.env.TINY_CHECKPOINTS ?? SHARED

export interface TinyGolden {
  readonly name: string
  readonly folder: string
  /** The folder, or the GGUF file in it. */
  readonly checkpointPath: string
}

export interface ExpectedValues {
  /** [N] */
  readonly inputIds: readonly number[]
  /** [N * vocabSize] */
  readonly logits: Float32Array
  readonly vocabSize: number
  /** The first 9 of `inputIds` and what follows them greedily. */
  readonly greedyFrom9: readonly number[]
}

/** None when the data are not beside this checkout. */
export function tinyGoldens(): readonly TinyGolden[] {
  if (!existsSync(ROOT)) return []
  return readdirSync(ROOT).map((name) => {
    const folder = join(ROOT, name)
    const gguf = join(folder, 'model.gguf')
    return { name, folder, checkpointPath: existsSync(gguf) ? gguf : folder }
  })
}

export function readExpected({ folder }: TinyGolden): ExpectedValues {
  const bytes = readFileSync(join(folder, 'expected.safetensors'))
  const headerBytes = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes))
  const part = (name: string) => {
    const [begin, end] = header[name].data_offsets
    return bytes.subarray(8 + headerBytes + begin, 8 + headerBytes + end)
  }
  const integers = (name: string) => {
    const values = part(name)
    return Array.from({ length: values.length / 8 }, (_, i) => Number(values.readBigInt64LE(8 * i)))
  }
  const logitBytes = part('logits')
  const logits = Float32Array.from({ length: logitBytes.length / 4 }, (_, i) =>
    logitBytes.readFloatLE(4 * i),
  )
  return {
    inputIds: integers('input_ids'),
    logits,
    vocabSize: header.logits.shape[2],
    greedyFrom9: integers('greedy_from_9'),
  }
}
