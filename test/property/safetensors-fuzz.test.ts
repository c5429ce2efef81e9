/**
 * Mutated safetensors files, configurations and indexes: each ends in a load or in a `ServingError`, soon, and without
 * memory beyond the file's own measure. The seed of a failing case is in its message.
 */

import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { heldBytes, mutate, openMutation } from '../support/gguf-mutations.ts'
import {
  encodeRaw,
  encodeSafetensors,
  smallSafetensors,
  writeModelFolder,
} from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'

const NUM_MUTATIONS = 2000
const SLACK_BYTES = 96 * 1024 * 1024
/** Of the weights when those stay sound. */
const LARGEST_BYTES = 1024
const CONFIG = JSON.stringify({
  model_type: 'llama',
  hidden_size: 64,
  rope_parameters: { rope_type: 'llama3', factor: 8, rope_theta: 1e4 },
  eos_token_id: [1, 2],
})

let root: string

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-fuzz-'))
})
afterAll(() => rm(root, { recursive: true }))

/** Mutations of one file of a folder, half of them of its structure: its first bytes and its JSON's punctuation. */
async function fuzz(folder: string, file: string, original: Buffer) {
  const isWeights = file.endsWith('.safetensors')
  const before = heldBytes()
  let numLoaded = 0
  let peak = 0
  for (let seed = 1; seed <= NUM_MUTATIONS; seed++) {
    const bytes = seed % 2 === 0 ? mutate(original, seed) : mutateText(original, seed)
    await writeFile(join(folder, file), bytes)
    if (await openMutation(folder, isWeights ? bytes.length : LARGEST_BYTES, seed)) numLoaded++
    peak = Math.max(peak, heldBytes() - before)
  }
  expect(numLoaded).toBeGreaterThan(NUM_MUTATIONS / 100)
  expect(numLoaded).toBeLessThan((NUM_MUTATIONS * 19) / 20)
  expect(peak).toBeLessThan(SLACK_BYTES)
}

const PIECES = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '0',
  '-',
  '9',
  'e',
  '\\',
  'null',
  '9007199254740993',
  '1e308',
]

/** Replace one JSON token by another, which keeps more texts near to sound than flipping bits does. */
function mutateText(original: Buffer, seed: number): Buffer {
  const random = seededRandom(seed)
  const text = original.toString('latin1')
  const places = [...text.matchAll(/[{}[\],:"]|\d+/g)]
  const place = places[random.below(places.length)]!
  const piece = PIECES[random.below(PIECES.length)]!
  const end = place.index + place[0].length
  return Buffer.from(text.slice(0, place.index) + piece + text.slice(end), 'latin1')
}

it(`survives ${NUM_MUTATIONS} mutations of a file`, { timeout: 30_000 }, async () => {
  const original = smallSafetensors()
  const folder = await writeModelFolder(join(root, 'file'), { 'config.json': CONFIG })
  await fuzz(folder, 'model.safetensors', original)
})

it(`survives ${NUM_MUTATIONS} mutations of a configuration`, { timeout: 30_000 }, async () => {
  const files = { 'model.safetensors': encodeSafetensors({ a: { shape: [1] } }) }
  const folder = await writeModelFolder(join(root, 'config'), files)
  await fuzz(folder, 'config.json', Buffer.from(CONFIG))
})

it(`survives ${NUM_MUTATIONS} mutations of an index`, { timeout: 30_000 }, async () => {
  const map = { a: '1.safetensors', b: '2.safetensors' }
  const folder = await writeModelFolder(join(root, 'index'), {
    'config.json': CONFIG,
    '1.safetensors': encodeSafetensors({ a: { shape: [1] } }),
    '2.safetensors': encodeSafetensors({ b: { shape: [2] } }),
  })
  const index = JSON.stringify({ metadata: { total_size: 12 }, weight_map: map })
  await fuzz(folder, 'model.safetensors.index.json', Buffer.from(index))
})

it('makes nothing of a header of 90 MB that is made of values', { timeout: 30_000 }, async () => {
  const folder = await writeModelFolder(join(root, 'large'), { 'config.json': CONFIG })
  const path = join(folder, 'model.safetensors')
  for (const piece of ['{},', '[', '0,', '"a":[],']) {
    const header = Buffer.alloc(90_000_000, piece)
    header.write('{"a":[')
    await writeFile(path, encodeRaw(header, Buffer.alloc(0)))
    const before = heldBytes()
    expect(await openMutation(folder, 2 ** 30, 0)).toBe(false)
    expect(heldBytes() - before).toBeLessThan(header.length + SLACK_BYTES)
  }
})

it('allocates nothing for a length that a sparse file seems to have', async () => {
  const folder = await writeModelFolder(join(root, 'sparse'), { 'config.json': CONFIG })
  const path = join(folder, 'model.safetensors')
  await writeFile(path, encodeRaw('{}', Buffer.alloc(0), 2n ** 40n))
  await truncate(path, 2 ** 42)
  const before = heldBytes()
  expect(await openMutation(folder, 2 ** 42, 0)).toBe(false)
  expect(heldBytes() - before).toBeLessThan(16 * 1024 * 1024)
})
