/**
 * Mutated GGUF files: each ends in a load or in a `ServingError`, soon, and without memory beyond the file's own measure.
 * The seed of a failing case is in its message; run it alone with `mutate(bytes, seed)`.
 */

import { existsSync, openSync, readSync } from 'node:fs'
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { openCheckpoint } from '../../src/checkpoint/open-checkpoint.ts'
import { encodeGguf, smallGguf } from '../support/gguf-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'

const NUM_SYNTHETIC = 2000
const NUM_REAL = 200
const TIME_LIMIT_MS = 2000
/** What one window, one file and its errors may take at a moment, with garbage that is not collected yet. */
const SLACK_BYTES = 96 * 1024 * 1024

const INTERESTING = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-fuzz-'))
})
afterAll(() => rm(folder, { recursive: true }))

function mutate(original: Buffer, seed: number): Buffer {
  const random = seededRandom(seed)
  let bytes = Buffer.from(original)
  const numEdits = 1 + random.below(4)
  for (let edit = 0; edit < numEdits; edit++) {
    const at = random.below(bytes.length - 8)
    switch (random.below(6)) {
      case 0:
        bytes[at] = random.below(256)
        break
      case 1:
        bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 2:
        bytes.writeBigUInt64LE(INTERESTING[random.below(INTERESTING.length)] as bigint, at)
        break
      case 3:
        bytes.writeUInt32LE(random.below(2 ** 32), at)
        break
      case 4:
        bytes = Buffer.from(bytes.subarray(0, Math.max(16, at)))
        break
      default: {
        const length = random.below(64)
        const insertion = bytes.subarray(at, at + length)
        bytes = Buffer.concat([bytes.subarray(0, at), insertion, bytes.subarray(at)])
      }
    }
  }
  return bytes
}

/** Whatever was loaded must be inside the file. */
function checkLoaded({ tensors }: Checkpoint, fileBytes: number): void {
  const ranges = [...tensors.values()].sort((a, b) => a.offset - b.offset)
  let end = 0
  for (const { offset, byteLength } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(end)
    end = offset + byteLength
  }
  expect(end).toBeLessThanOrEqual(fileBytes)
}

async function openMutation(path: string, fileBytes: number, seed: number): Promise<boolean> {
  const start = performance.now()
  let loaded = false
  try {
    checkLoaded(await openCheckpoint(path), fileBytes)
    loaded = true
  } catch (error) {
    if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
    if (error.message.includes('{')) expect(error.message, `seed ${seed}`).not.toMatch(/\{\w+\}/)
  }
  expect(performance.now() - start, `milliseconds of seed ${seed}`).toBeLessThan(TIME_LIMIT_MS)
  return loaded
}

function heldBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}

it(`survives ${NUM_SYNTHETIC} mutations of a small file`, { timeout: 20_000 }, async () => {
  const original = encodeGguf(smallGguf())
  const path = join(folder, 'small.gguf')
  const before = heldBytes()
  let numLoaded = 0
  let peak = 0
  for (let seed = 1; seed <= NUM_SYNTHETIC; seed++) {
    const bytes = mutate(original, seed)
    await writeFile(path, bytes)
    if (await openMutation(path, bytes.length, seed)) numLoaded++
    peak = Math.max(peak, heldBytes() - before)
  }
  // Edits inside tensor data and values load; edits of structure do not. Both must happen, or nothing was tested.
  expect(numLoaded).toBeGreaterThan(NUM_SYNTHETIC / 20)
  expect(numLoaded).toBeLessThan((NUM_SYNTHETIC * 19) / 20)
  expect(peak).toBeLessThan(SLACK_BYTES)
})

it('allocates nothing for counts and lengths, however large the file says it is', async () => {
  const path = join(folder, 'sparse.gguf')
  const bytes = encodeGguf({
    metadata: [
      ['huge', { type: 'array', of: 'u8', values: [], count: 2n ** 40n }],
      ['text', { type: 'string', value: '', length: 2n ** 40n }],
    ],
  })
  for (const lie of [bytes, encodeGguf({ numTensors: 2n ** 34n }), bytes.subarray(0, 24)]) {
    await writeFile(path, lie)
    // A sparse file: as large as it claims, with nothing on the disk.
    await truncate(path, 2 ** 42)
    const before = heldBytes()
    await openMutation(path, 2 ** 42, 0)
    expect(heldBytes() - before).toBeLessThan(16 * 1024 * 1024)
  }
})

const model = process.env.INGOT_TEST_MODEL ?? ''

it.skipIf(!existsSync(model))(
  `survives ${NUM_REAL} mutations of a real header (skipped without INGOT_TEST_MODEL)`,
  { timeout: 20_000 },
  async () => {
    const head = Buffer.alloc(64 * 1024)
    readSync(openSync(model, 'r'), head, 0, head.length, 0)
    const path = join(folder, 'real.gguf')
    const before = heldBytes()
    for (let seed = 1; seed <= NUM_REAL; seed++) {
      const bytes = mutate(head, seed)
      await writeFile(path, bytes)
      // The file claims its real size again, so that mutations are met behind the size checks as well.
      const handle = await open(path, 'r+')
      await handle.truncate(98_362_432)
      await handle.close()
      await openMutation(path, 98_362_432, seed)
    }
    expect(heldBytes() - before).toBeLessThan(SLACK_BYTES)
  },
)
