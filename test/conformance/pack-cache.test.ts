/**
 * The pack cache changes how fast a model starts and nothing else: packed, mapped, and in memory it answers with the same
 * bits. A file that is not whole, or not of this model, or of another version, is noticed and made anew.
 */

import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SOURCE_WEIGHTS } from '../../src/base/weights-choice.ts'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import { makeRoom } from '../../src/execution/pack-cache.ts'
import { loadEngine } from '../../src/worker/load-engine.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { runSequences } from '../support/run-engine.ts'
import { encodeSafetensors, f32, writeModelFolder } from '../support/safetensors-writer.ts'
import { seededRandom } from '../support/seeded-random.ts'
import { TINY_CONFIG, tinyLlamaFolder } from '../support/tiny-llama-folder.ts'

const ADDON = new URL('../../native/ingot.node', import.meta.url)
const LIMIT_BYTES = 2 ** 30

describe.skipIf(!existsSync(ADDON))('the pack cache (skipped when the addon is not built)', () => {
  let root: string
  let checkpointPath: string
  let folder: string
  let warnings: string[]
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'ingot-packs-'))
    checkpointPath = join(root, 'model')
    const random = seededRandom(13)
    const tensors = [...tinyLlamaFolder().tensors].map(([name, { shape }]) => {
      const length = shape.reduce((product, extent) => product * extent, 1)
      const value = () => (shape.length === 1 ? 1 : (random.below(2001) - 1000) / 7000)
      return [name, { shape, data: f32(Array.from({ length }, value)) }] as const
    })
    await writeModelFolder(checkpointPath, {
      'config.json': TINY_CONFIG,
      'model.safetensors': encodeSafetensors(Object.fromEntries(tensors)),
    })
  })
  afterAll(() => rm(root, { recursive: true }))
  beforeEach(async () => {
    folder = join(await mkdtemp(join(root, 'home-')), 'packed')
    warnings = []
  })

  interface Change {
    readonly packs?: Partial<NonNullable<EngineOptions['packs']>>
    readonly weights?: EngineOptions['weights']
  }

  async function load({ packs = {}, weights = SOURCE_WEIGHTS }: Change = {}) {
    const options: EngineOptions = {
      checkpointPath,
      weights,
      packs: { folder, limitBytes: LIMIT_BYTES, modelDigest: 'ab'.repeat(32), ...packs },
      threads: 2,
      activations: 'f32',
      kvDtype: 'f32',
      kvMemoryBytes: 1 << 20,
      blockSize: 16,
      maxNumBatchedTokens: 64,
      maxNumSeqs: 4,
      maxContextTokens: 128,
      eosTokenIds: [],
      scheduling: PLAIN_SCHEDULING,
    }
    const onWarning = (message: string) => warnings.push(message)
    const engine = await loadEngine(options, undefined, undefined, onWarning)
    try {
      const spec = makeSpec(1, {
        promptIds: [1, 5, 9, 13],
        maxTokens: 6,
        temperature: 0,
        topLogprobs: 3,
      })
      const { answers } = await runSequences(engine, [spec])
      const { weightsHeldAs, weightsBytes } = engine.description
      return { weightsHeldAs, weightsBytes, answer: answers.get(spec.id) }
    } finally {
      await engine.executor.close()
    }
  }

  async function onlyPack(): Promise<string> {
    const names = await readdir(folder)
    expect(names).toEqual([expect.stringMatching(/^[0-9a-f]{32}\.pack$/)])
    return join(folder, names[0]!)
  }

  it('packs at the first start, maps at the next ones, and answers alike', async () => {
    const inMemory = await load({ packs: { limitBytes: 0 } })
    expect(inMemory.weightsHeldAs).toBe('memory')
    expect(await load()).toEqual({ ...inMemory, weightsHeldAs: 'packed' })
    await onlyPack()
    expect(await load()).toEqual({ ...inMemory, weightsHeldAs: 'mapped' })
    expect(warnings).toEqual([])
  })

  it('has a file of its own for each checkpoint and each choice of weights', async () => {
    await load()
    expect((await load({ packs: { modelDigest: 'cd'.repeat(32) } })).weightsHeldAs).toBe('packed')
    const weights = { ...SOURCE_WEIGHTS, format: 'bf16' } as const
    expect((await load({ weights })).weightsHeldAs).toBe('packed')
    expect(await readdir(folder)).toHaveLength(3)
    expect((await load()).weightsHeldAs).toBe('mapped')
  })

  it('notices any changed byte and any cut, and makes the file anew', async () => {
    const expected = await load()
    const path = await onlyPack()
    const whole = await readFile(path)
    const random = seededRandom(14)
    const places = [0, 9, 70, whole.length - 1, whole.length - 40, whole.length - 64]
    for (let i = 0; i < 24; i++) places.push(64 + random.below(whole.length - 64))
    const padding = (at: number) => whole.subarray(at, at + 1).equals(Buffer.of(0))
    for (const at of places) {
      const changed = Buffer.from(whole)
      changed[at] = changed[at]! ^ (1 << random.below(8))
      await writeFile(path, changed)
      warnings.length = 0
      const answer = await load()
      expect(answer.answer).toEqual(expected.answer)
      // Zeros between parts are nobody's weights.
      if (answer.weightsHeldAs === 'mapped') expect(padding(at)).toBe(true)
      else expect(warnings).toEqual([expect.stringMatching(/^packed weights are made anew: /)])
    }
    for (const length of [0, 1, 63, 64, 200, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, length))
      expect(await load()).toEqual(expected)
    }
    expect(await readFile(path)).toEqual(whole)
  })

  it('never takes the weights of another model under its own name', async () => {
    const expected = await load()
    const path = await onlyPack()
    await load({ packs: { modelDigest: 'cd'.repeat(32) } })
    const other = (await readdir(folder)).map((name) => join(folder, name)).find((p) => p !== path)
    await writeFile(path, await readFile(other!))
    expect(await load()).toEqual(expected)
    expect(warnings[0]).toMatch(/holds the weights of something else/)
  })

  it('serves from memory when the disk is full, with a warning and no half file', async () => {
    const expected = await load({ packs: { limitBytes: 0 } })
    await load()
    const path = await onlyPack()
    await rm(path)
    // Whatever this process writes next goes to a device that is always full.
    for (let number = 0; number < 300; number++) {
      const scratch = path.replace(/pack$/, `${process.pid}-${number}.part`)
      await symlink('/dev/full', scratch)
    }
    expect(await load()).toEqual(expected)
    expect(warnings).toEqual([expect.stringMatching(/cannot be written: No space left on device/)])
    expect(await readdir(folder)).toHaveLength(299)
  })

  it('serves from memory when the folder cannot be made, or the limit is too small', async () => {
    await mkdir(join(folder, '..'), { recursive: true })
    await writeFile(folder, 'a file')
    expect((await load()).weightsHeldAs).toBe('memory')
    expect((await load({ packs: { limitBytes: 1000 } })).weightsHeldAs).toBe('memory')
    expect(warnings).toEqual([
      expect.stringMatching(/^packed weights are not kept: .*(?:EEXIST|ENOTDIR)/),
      expect.stringMatching(
        /^packed weights are not kept: \d+ bytes are more than --pack-cache 1000/,
      ),
    ])
  })

  it('two engines that pack at once end with one whole file', async () => {
    const [one, two] = await Promise.all([load(), load()])
    expect(one.answer).toEqual(two.answer)
    await onlyPack()
    expect((await load()).weightsHeldAs).toBe('mapped')
  })

  it('removes what was not used for longest, never what was just made, and old leftovers', async () => {
    await mkdir(folder, { recursive: true })
    const add = async (name: string, bytes: number, ageSeconds: number) => {
      const path = join(folder, name)
      await writeFile(path, Buffer.alloc(bytes))
      const time = Date.now() / 1000 - ageSeconds
      await utimes(path, time, time)
      return { path, key: '' }
    }
    const keep = await add('0.pack', 100, 900)
    await add('1.pack', 100, 300)
    await add('2.pack', 100, 200)
    await add('3.pack', 100, 100)
    await add('4.1.part', 100, 100)
    await add('5.1.part', 100, 4000)
    await add('notes.txt', 100, 4000)
    await makeRoom({ folder, limitBytes: 200 }, keep, Date.now())
    expect((await readdir(folder)).sort()).toEqual(['0.pack', '3.pack', '4.1.part', 'notes.txt'])
  })
})
