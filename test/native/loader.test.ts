/** What the loader finds, and what it says when it does not. */

import { existsSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { NATIVE_ABI } from '../../native/binding.ts'
import { nativeServingError } from '../../native/errors.ts'
import { loadNative, ortLibraryPath } from '../../native/loader.ts'
import { ServingError } from '../../src/base/errors.ts'
import { binding, scratchFolder, tinyOptions } from '../support/tiny-model.ts'

const folder = scratchFolder()
afterAll(folder.remove)

function failure(path: string): ServingError {
  try {
    loadNative(path)
  } catch (error) {
    if (error instanceof ServingError) return error
    throw error
  }
  throw new Error('it loaded')
}

it('loads the built addon once, however often it is asked', () => {
  expect(loadNative()).toBe(loadNative())
})

it('says which file is absent and what to run', () => {
  const error = failure(join(folder.path, 'absent.node'))
  expect(error.code).toBe('NATIVE_NOT_FOUND')
  expect(error.message).toMatch(/absent\.node \(no such file\).*npm run build/)
  expect(error.message).toContain(`${process.platform}-${process.arch}`)
})

it('says why a file that is there does not load', () => {
  const path = join(folder.path, 'broken.node')
  writeFileSync(path, 'not a library')
  const error = failure(path)
  expect(error.code).toBe('NATIVE_NOT_FOUND')
  expect(error.message).toMatch(/broken\.node \(.+\)/)
  expect(error.message).not.toContain('no such file')
})

it.each([
  ['of another ABI', `exports.capabilities = () => ({ abi: ${NATIVE_ABI + 1} })`, NATIVE_ABI + 1],
  ['that is something else', 'exports.hello = 1', 'none'],
])('refuses an addon %s, with both numbers', (name, source, found) => {
  const path = join(folder.path, `${name.replaceAll(' ', '-')}.cjs`)
  writeFileSync(path, source)
  const error = failure(path)
  expect(error.code).toBe('NATIVE_ABI_MISMATCH')
  expect(error.details).toMatchObject({ path, found, needed: NATIVE_ABI })
})

it('finds the libonnxruntime that onnxruntime-node ships', () => {
  expect(existsSync(ortLibraryPath())).toBe(true)
  expect(basename(ortLibraryPath())).toMatch(/onnxruntime/)
})

it("makes the product's own error of what the addon throws, and of nothing else", () => {
  const { Model } = binding()
  let thrown: unknown
  try {
    new Model(tinyOptions({ blockSize: 17 }))
  } catch (error) {
    thrown = error
  }
  const error = nativeServingError(thrown)
  expect(error).toBeInstanceOf(ServingError)
  expect(error).toMatchObject({
    code: 'NATIVE_BAD_OPTION',
    cause: thrown,
    message: expect.stringContaining('got 17'),
  })
  const other = new TypeError('something else')
  expect(nativeServingError(other)).toBe(other)
})
