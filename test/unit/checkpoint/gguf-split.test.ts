/** Models in several GGUF files: any part opens all, and parts that do not belong together are told by name. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openCheckpoint } from '../../../src/checkpoint/open-checkpoint.ts'
import { caught } from '../../support/caught.ts'
import { encodeGguf, type GgufSpec, type GgufValue } from '../../support/gguf-writer.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-split-'))
})
afterEach(() => rm(folder, { recursive: true }))

const u16 = (value: number): GgufValue => ({ type: 'u16', value })
const i32 = (value: number): GgufValue => ({ type: 'i32', value })

interface Lie {
  readonly no?: number
  readonly count?: number
  readonly numTensors?: number
  readonly tensor?: string
}

function part(index: number, lie: Lie = {}): Buffer {
  const first: GgufSpec['metadata'] = [['general.architecture', { type: 'string', value: 'llama' }]]
  return encodeGguf({
    metadata: [
      ...(index === 0 ? first : []),
      ['split.no', u16(lie.no ?? index)],
      ['split.count', u16(lie.count ?? 3)],
      ['split.tensors.count', i32(lie.numTensors ?? 3)],
    ],
    tensors: [
      {
        name: lie.tensor ?? `t${index}`,
        dims: [4],
        type: 0,
        data: Buffer.from(Float32Array.of(index, 1, 2, 3).buffer),
      },
    ],
  })
}

const nameOf = (index: number) => join(folder, `m-0000${index + 1}-of-00003.gguf`)

async function write(lies: readonly (Lie | null)[] = [{}, {}, {}]): Promise<void> {
  for (const [index, lie] of lies.entries()) {
    if (lie !== null) await writeFile(nameOf(index), part(index, lie))
  }
}

describe('a split GGUF model', () => {
  it.each([0, 1, 2])('is opened whole by its part %i', async (index) => {
    await write()
    const checkpoint = await openCheckpoint(nameOf(index))
    expect(checkpoint.files).toEqual([0, 1, 2].map(nameOf))
    expect(checkpoint.metadata.get('general.architecture')).toBe('llama')
    expect([...checkpoint.tensors.values()].map(({ name, file }) => [name, file])).toEqual(
      [0, 1, 2].map((part) => [`t${part}`, nameOf(part)]),
    )
    expect(checkpoint.totalTensorBytes).toBe(48)
  })

  it('is opened by the folder that it lies in', async () => {
    await write()
    await writeFile(join(folder, 'README.md'), 'x')
    expect((await openCheckpoint(folder)).tensors.size).toBe(3)
  })

  const refused: readonly [string, (Lie | null)[], string, RegExp][] = [
    ['a missing part', [{}, null, {}], 'CHECKPOINT_PART_MISSING', /m-00002-of-00003/],
    [
      'swapped parts',
      [{}, { no: 2 }, { no: 1 }],
      'CHECKPOINT_SPLIT_MISMATCH',
      /expected 1 for split.no, got "2"/,
    ],
    ['a doubled part', [{}, { no: 1, tensor: 't0' }, {}], 'CHECKPOINT_SPLIT_MISMATCH', /"t0"/],
    [
      'a part of another split',
      [{}, { count: 4 }, {}],
      'CHECKPOINT_SPLIT_MISMATCH',
      /expected 3 for split.count, got "4"/,
    ],
    [
      'another number of tensors',
      [{}, { numTensors: 9 }, {}],
      'CHECKPOINT_SPLIT_MISMATCH',
      /split.tensors.count, got "9"/,
    ],
    [
      'tensors that are missing',
      [{ numTensors: 9 }, { numTensors: 9 }, { numTensors: 9 }],
      'CHECKPOINT_SPLIT_MISMATCH',
      /"9".*got 3 in all parts/,
    ],
    [
      'a part that does not say where it belongs',
      [{}, { count: 1 }, {}],
      'CHECKPOINT_SPLIT_MISMATCH',
      /split.count/,
    ],
  ]
  it.each(refused)('is refused with %s', async (_name, lies, code, text) => {
    await write(lies)
    const error = await caught(openCheckpoint(nameOf(0)))
    expect(error).toMatchObject({ code })
    expect(String(error)).toMatch(text)
  })

  it('is refused under a name that does not name its parts', async () => {
    const file = join(folder, 'renamed.gguf')
    await writeFile(file, part(0))
    const error = await caught(openCheckpoint(file))
    expect(error).toMatchObject({ code: 'CHECKPOINT_SPLIT_MISMATCH' })
    expect(String(error)).toContain('NAME-00001-of-00003.gguf')
  })

  it('is refused as a folder that holds several models', async () => {
    await write()
    await writeFile(join(folder, 'other.gguf'), part(0))
    expect(await caught(openCheckpoint(folder))).toMatchObject({
      code: 'CHECKPOINT_UNSUPPORTED_KIND',
    })
    await mkdir(join(folder, 'empty'))
    expect(await caught(openCheckpoint(join(folder, 'empty')))).toMatchObject({
      code: 'CHECKPOINT_UNSUPPORTED_KIND',
    })
  })
})
