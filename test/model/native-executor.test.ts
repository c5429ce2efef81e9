/** Making and ending a `NativeExecutor`, on a tiny checkpoint: what it reports, what it refuses, what it frees. */

import { mkdtemp, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { NativeExecutor } from '../../src/execution/native-executor.ts'
import { loadEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { caught } from '../support/caught.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { writeGguf } from '../support/gguf-writer.ts'
import { ENGINE_OPTIONS } from '../support/supervised.ts'
import { TINY_LLAMA, tinyLlamaGguf } from '../support/tiny-llama-gguf.ts'

let folder: string
let options: EngineOptions

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-executor-'))
  const checkpointPath = join(folder, 'tiny.gguf')
  await writeGguf(checkpointPath, tinyLlamaGguf({ ...TINY_LLAMA, isTied: false }, 7))
  options = { ...ENGINE_OPTIONS, checkpointPath }
})
afterAll(() => rm(folder, { recursive: true }))

it('describes what was loaded and tells how far it is', async () => {
  const progress: string[] = []
  const { executor, description } = await loadEngine(options, (stage, fraction) =>
    progress.push(`${stage} ${fraction}`),
  )
  expect(progress).toEqual(['checkpoint 0', 'weights 0', 'weights 1', 'session 1'])
  expect(description).toMatchObject({
    modelType: 'llama',
    vocabSize: 320,
    maxContextTokens: 64,
    blockSize: 16,
    kvBytesPerToken: 2 * 3 * 2 * 32 * 4,
    numBlocks: Math.floor(2 ** 20 / (16 * 2 * 3 * 2 * 32 * 4)),
    ortVersion: '1.30.0',
  })
  expect(description.weightsBytes).toBeGreaterThan(0)
  await executor.close()
  await executor.close()
})

it('lowers a context that is longer than the checkpoint allows', async () => {
  const { executor, description } = await loadEngine({ ...options, maxContextTokens: 1 << 20 })
  expect(description.maxContextTokens).toBe(512)
  await executor.close()
})

it('refuses KV memory of less than a block', async () => {
  const error = await caught(loadEngine({ ...options, kvMemoryBytes: 1000 }))
  expect(error.code).toBe('EXECUTION_KV_MEMORY_TOO_SMALL')
})

it('refuses a step and a sampler after it was closed, in the words of the product', async () => {
  const { executor } = await loadEngine(options)
  await executor.close()
  expect((await caught(executor.execute(1, 1, 1))).code).toBe('NATIVE_DISPOSED')
  const { params } = makeSpec(1)
  expect(() => executor.addSequence(0, params, 0, Int32Array.of(1), Int32Array.of())).toThrow(
    expect.objectContaining({ code: 'NATIVE_DISPOSED' }),
  )
})

it('refuses a session whose bytes are no model, and weights whose file was cut since', async () => {
  const limits = { ...options, vocabSize: 320, kvLayers: [{ numKvHeads: 2, headDim: 32 }] }
  const broken = NativeExecutor.open({ ...limits, onnx: Uint8Array.of(1, 2, 3), weights: [] })
  expect((await caught(broken)).code).toBe('NATIVE_BAD_GRAPH')

  const file = join(folder, 'cut.bin')
  await writeGguf(file, tinyLlamaGguf(TINY_LLAMA, 7))
  await truncate(file, 64)
  const tensor = { name: 't', format: 'F32', shape: [32, 32], file, offset: 0 } as const
  const weights = [
    { name: 't', kind: 'linear', tensors: [{ ...tensor, byteLength: 4096 }] },
  ] as const
  const cut = NativeExecutor.open({ ...limits, onnx: new Uint8Array(), weights })
  expect((await caught(cut)).code).toBe('NATIVE_BAD_WEIGHT')
})
