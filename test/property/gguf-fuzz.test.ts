/**
 * Mutated GGUF files: each ends in a load or in a `ServingError`, soon, and without memory beyond the file's own measure.
 * The seed of a failing case is in its message; run it alone with `mutate(bytes, seed)`.
 */

import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { heldBytes, mutate, openMutation } from '../support/gguf-mutations.ts'
import { encodeGguf, smallGguf } from '../support/gguf-writer.ts'

const NUM_SYNTHETIC = 2000
/** What one window, one file and its errors may take at a moment, with garbage that is not collected yet. */
const SLACK_BYTES = 96 * 1024 * 1024

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-fuzz-'))
})
afterAll(() => rm(folder, { recursive: true }))

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
