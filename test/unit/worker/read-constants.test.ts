import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TensorInfo } from '../../../src/checkpoint/checkpoint.ts'
import { readConstants } from '../../../src/worker/read-constants.ts'
import { caught } from '../../support/caught.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ingot-constants-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function tensor(values: readonly number[], change: Partial<TensorInfo> = {}) {
  const file = join(folder, 'values.bin')
  await writeFile(
    file,
    Buffer.concat([Buffer.alloc(8), Buffer.from(Float32Array.from(values).buffer)]),
  )
  const info = { name: 'f', format: 'F32', shape: [values.length], file, offset: 8 } as const
  return { ...info, byteLength: 4 * values.length, ...change }
}

it('reads the values at their place', async () => {
  const constants = await readConstants([await tensor([1, 2.5])])
  expect(constants.get('f')).toEqual(Float32Array.of(1, 2.5))
})

it.each([
  ['a zero', [1, 0], {}, '0'],
  ['no number', [Number.NaN], {}, 'NaN'],
  ['an infinity', [Number.POSITIVE_INFINITY], {}, 'Infinity'],
  ['bytes past the end', [1], { byteLength: 8 }, '4'],
  ['another format', [1], { format: 'F16' as const }, '4 bytes of F16'],
  ['far too many', [1], { byteLength: 1 << 24 }, `${1 << 24} bytes of F32`],
])('refuses %s', async (_, values, change, got) => {
  const error = await caught(readConstants([await tensor(values, change)]))
  expect(error).toMatchObject({ code: 'WORKER_BAD_CONSTANT', details: { tensor: 'f', got } })
})
