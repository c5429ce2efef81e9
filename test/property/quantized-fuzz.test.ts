/**
 * Mutated quantized folders, of every scheme in turn: each ends in a load or in a `ServingError`, soon, with all tensors
 * inside of their files. The seed of a failing case is in its message.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { mutate, openMutation } from '../support/gguf-mutations.ts'
import { QUANTIZATION_CASES } from '../support/quantization-cases.ts'
import { quantizedFolder } from '../support/quantized-folder.ts'
import { encodeSafetensors, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'

const NUM_MUTATIONS = 2000
const NUM_TENSORS = 12

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'ingot-quantized-fuzz-'))
})
afterAll(() => rm(root, { recursive: true }))

/** The first tensors of each case, which are two quantized weights at least. */
const CASES = QUANTIZATION_CASES.map(({ config, write }, index) => {
  const { tensors, quantized } = quantizedFolder(config, write)
  const few = Object.entries(tensors).filter(([name]) => /layers\.0\.self_attn\.[qk]_/.test(name))
  const weights = encodeSafetensors(Object.fromEntries(few.slice(0, NUM_TENSORS)))
  const settings = JSON.stringify((quantized as Record<string, object>)['config.json'])
  return { folder: String(index), weights, settings }
})

/** One JSON token becomes another one of the text, so that names, types and numbers change places. */
function swapTokens(text: string, seed: number): string {
  const random = seededRandom(seed)
  const tokens = [...text.matchAll(/"[^"]*"|-?\d+(?:\.\d+)?|true|false|null/g)]
  const extra = ['-1', '0', '3', '9007199254740993', '1e308', '[]', '{}', '"re:((a*)*)*"', 'null']
  const place = tokens[random.below(tokens.length)]!
  const other = tokens[random.below(tokens.length)]![0]
  const piece = random.below(2) === 0 ? other : extra[random.below(extra.length)]!
  return text.slice(0, place.index) + piece + text.slice(place.index + place[0].length)
}

function mutatedHeader(weights: Buffer, seed: number): Buffer {
  const length = Number(weights.readBigUInt64LE(0))
  const json = weights.subarray(8, 8 + length).toString('latin1')
  const header = Buffer.from(swapTokens(json, seed), 'latin1')
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([prefix, header, weights.subarray(8 + length)])
}

async function fuzz(
  file: string,
  mutated: (of: (typeof CASES)[number], seed: number) => Buffer | string,
): Promise<void> {
  for (const { folder, weights, settings } of CASES) {
    const files = { 'config.json': settings, 'model.safetensors': weights }
    await writeModelFolder(join(root, folder), files)
    expect(await openMutation(join(root, folder), weights.length, 0), folder).toBe(true)
  }
  let numLoaded = 0
  for (let seed = 1; seed <= NUM_MUTATIONS; seed++) {
    const of = CASES[seed % CASES.length]!
    const folder = join(root, of.folder)
    const bytes = mutated(of, seed)
    await writeFile(join(folder, file), bytes)
    const limit = file === 'config.json' ? of.weights.length : bytes.length
    if (await openMutation(folder, limit, seed)) numLoaded++
  }
  expect(numLoaded).toBeGreaterThan(NUM_MUTATIONS / 100)
  expect(numLoaded).toBeLessThan((NUM_MUTATIONS * 19) / 20)
}

it(`survives ${NUM_MUTATIONS} mutations of files`, { timeout: 60_000 }, () =>
  fuzz('model.safetensors', ({ weights }, seed) =>
    seed % 3 === 0 ? mutate(weights, seed) : mutatedHeader(weights, seed),
  ),
)

it(`survives ${NUM_MUTATIONS} mutations of configurations`, { timeout: 60_000 }, () =>
  fuzz('config.json', ({ settings }, seed) => swapTokens(settings, seed)),
)
