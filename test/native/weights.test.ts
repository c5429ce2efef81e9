/** Weights that nobody vouches for: each lie ends in a typed rejection that names the weight, and changes nothing. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import type { NativeModel, NativeWeight, NativeWeightPart } from '../../native/binding.ts'
import { writeTinyWeights } from '../support/tiny-llama.ts'
import { binding, scratchFolder, tinyOptions } from '../support/tiny-model.ts'

const folder = scratchFolder()
afterAll(folder.remove)
const file = join(folder.path, 'weights.bin')
writeFileSync(file, Buffer.alloc(4096))
writeFileSync(join(folder.path, 'empty.bin'), '')
mkdirSync(join(folder.path, 'folder.bin'))

let model: NativeModel
beforeEach(() => {
  model = new (binding().Model)(tinyOptions())
  return () => model.dispose()
})

const GOOD: NativeWeightPart = { file, offset: 0, byteLength: 256, format: 'F32', shape: [2, 32] }

function linear(
  changes: Partial<NativeWeightPart>,
  ...more: Partial<NativeWeightPart>[]
): NativeWeight {
  return {
    name: 'w',
    kind: 'linear',
    parts: [changes, ...more].map((part) => ({ ...GOOD, ...part })),
  }
}

describe('loadWeights', () => {
  it.each<[string, NativeWeight, RegExp]>([
    [
      'an offset beyond the file',
      linear({ offset: 4000 }),
      /outside .*weights\.bin, which has 4096 bytes/,
    ],
    [
      'an offset that overflows with the length',
      linear({ offset: Number.MAX_SAFE_INTEGER }),
      /outside/,
    ],
    ['an offset that is not whole', linear({ offset: 0.5 }), /offset must be a whole number/],
    ['a negative offset', linear({ offset: -4 }), /offset/],
    ['an offset that is not a number', linear({ offset: Number.NaN }), /offset/],
    [
      'a byte count that does not fit the shape',
      linear({ byteLength: 255 }),
      /takes 256 bytes, but byteLength is 255/,
    ],
    ['a shape that overflows', linear({ shape: [2 ** 52, 2 ** 52] }), /shape/],
    ['a huge shape', linear({ shape: [2 ** 40, 32] }), /shape/],
    ['a shape with a zero', linear({ shape: [0, 32], byteLength: 0 }), /no zero/],
    [
      'a layout of another name',
      linear({ layout: 'diagonal' as 'rows' }),
      /layout must be rows, or columns of a matrix, got diagonal/,
    ],
    [
      'parts of unequal inputs, one of them in columns',
      linear({ layout: 'columns' }, {}),
      /equally wide: 2 and 32/,
    ],
    ['a shape of one dimension', linear({ shape: [64] }), /2 dimensions/],
    ['a shape of three dimensions', linear({ shape: [1, 2, 32] }), /2 dimensions/],
    [
      'rows that are not whole blocks',
      linear({ format: 'Q4_0', shape: [2, 33] }),
      /whole blocks of 32/,
    ],
    ['an unknown format', linear({ format: 'Q99_X' }), /Q99_X/],
    ['an empty format', linear({ format: '' }), /format/],
    ['parts of different widths', linear({}, { shape: [1, 64] }), /equally wide: 32 and 64/],
    ['no parts', { name: 'w', kind: 'linear', parts: [] }, /parts/],
    [
      'a linear with values',
      { name: 'w', kind: 'linear', values: new Float32Array(1) },
      /takes parts/,
    ],
    ['a constant with parts', { name: 'w', kind: 'constant', parts: [GOOD] }, /takes values/],
    [
      'a constant of nothing',
      { name: 'w', kind: 'constant', values: new Float32Array() },
      /values/,
    ],
    [
      'an unknown kind',
      { name: 'w', kind: 'tensor', parts: [GOOD] } as unknown as NativeWeight,
      /kind/,
    ],
    ['a file that is absent', linear({ file: join(folder.path, 'absent') }), /absent/],
    ['an empty file', linear({ file: join(folder.path, 'empty.bin') }), /empty\.bin/],
    ['a folder', linear({ file: join(folder.path, 'folder.bin') }), /folder\.bin/],
    ['a path with a NUL', linear({ file: 'a\0b' }), /map weight file/],
  ])('rejects %s', async (_, weight, message) => {
    const loading = model.loadWeights([weight])
    await expect(loading).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
      message: expect.stringMatching(message),
    })
    await expect(loading).rejects.toMatchObject({ message: expect.stringContaining('weight "w"') })
    expect(model.memory().weightsBytes).toBe(0)
  })

  it('adds all or nothing', async () => {
    const good: NativeWeight = { ...linear({}), name: 'good' }
    await expect(model.loadWeights([good, linear({ byteLength: 1 })])).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
    })
    expect(model.memory().weightsBytes).toBe(0)
    await model.loadWeights([good])
    expect(model.memory().weightsBytes).toBeGreaterThan(0)
  })

  it('refuses a name that is taken, in one call and in two', async () => {
    await expect(model.loadWeights([linear({}), linear({})])).rejects.toMatchObject({
      message: /loaded already/,
    })
    await model.loadWeights([linear({})])
    await expect(model.loadWeights([linear({})])).rejects.toMatchObject({
      code: 'NATIVE_BAD_WEIGHT',
    })
  })

  it('survives 500 mutations of a good description, each ending in a load or a typed rejection', async () => {
    const weights = writeTinyWeights(join(folder.path, 'good.bin'), 'Q4_0')
    const lies = [
      0,
      1,
      -1,
      31,
      2 ** 31,
      2 ** 32 + 1,
      2 ** 53,
      1e300,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]
    let loads = 0
    for (let round = 0; round < 500; round++) {
      const weight = weights[round % (weights.length - 1)]!
      const part = weight.parts![0]!
      const lie = lies[round % lies.length]!
      const field = (['offset', 'byteLength', 'shape'] as const)[round % 3]!
      const changed = { ...part, [field]: field === 'shape' ? [lie, ...part.shape.slice(1)] : lie }
      try {
        await model.loadWeights([{ ...weight, name: `${round}`, parts: [changed] }])
        loads += 1
      } catch (error) {
        expect((error as { code: string }).code).toBe('NATIVE_BAD_WEIGHT')
      }
    }
    expect(loads).toBeLessThan(250)
  })
})
