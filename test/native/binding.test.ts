/** `native/binding.ts` and `native/errors.ts` against what the built addon exports, name by name. */

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { NATIVE_ABI } from '../../native/binding.ts'
import { ADDON_ERROR_CODES } from '../../native/errors.ts'
import { binding, tinyOptions } from '../support/tiny-model.ts'

const contract = readFileSync('native/binding.ts', 'utf8')

/** Member names of an interface of the contract. */
function membersOf(name: string): string[] {
  const body =
    new RegExp(`export interface ${name}(?: extends \\w+)? \\{\\n(.*?)\\n\\}`, 's').exec(
      contract,
    )?.[1] ?? ''
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map((match) => match[1]!)
}

function namesOf(object: object): string[] {
  return Object.getOwnPropertyNames(object).filter((name) => name !== 'constructor')
}

it('exports exactly the names of NativeBinding', () => {
  expect(namesOf(binding()).sort()).toEqual(membersOf('NativeBinding').sort())
})

it('reports its ABI, kernels and CPU features', () => {
  const capabilities = binding().capabilities()
  expect(Object.keys(capabilities).sort()).toEqual(membersOf('NativeCapabilities').sort())
  expect(capabilities.abi).toBe(NATIVE_ABI)
  expect(capabilities.kernels).toMatch(/^(avx512-vnni|avx2-vnni|avx2|neon-dotprod|neon|scalar)$/)
})

it('gives a model exactly the members of NativeModel and NativeBuffers', () => {
  const { Model } = binding()
  const model = new Model(tinyOptions())
  expect([...namesOf(Model.prototype), ...Object.keys(model)].sort()).toEqual(
    membersOf('NativeModel').sort(),
  )
  const rows = membersOf('NativeSamplerBuffers')
  expect(Object.keys(model.buffers).sort()).toEqual([...membersOf('NativeBuffers'), ...rows].sort())
  model.dispose()
})

it('gives a sampler exactly the members of NativeSampler and NativeSamplerBuffers', () => {
  const { Sampler } = binding()
  const sampler = new Sampler({ maxNumSeqs: 1, maxLogitsRows: 1, vocabSize: 4 })
  expect([...namesOf(Sampler.prototype), ...Object.keys(sampler)].sort()).toEqual(
    membersOf('NativeSampler').sort(),
  )
  expect(Object.keys(sampler.buffers).sort()).toEqual(membersOf('NativeSamplerBuffers').sort())
})

const TINY_TOKENIZER = JSON.stringify({
  model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' },
})

it('gives a tokenizer exactly the members of NativeTokenizer, and its build those of NativeTokenizerBuild', () => {
  const build = new (binding().TokenizerBuild)(TINY_TOKENIZER)
  expect(namesOf(Object.getPrototypeOf(build)).sort()).toEqual(membersOf('NativeTokenizerBuild'))
  expect(namesOf(Object.getPrototypeOf(build.finish())).sort()).toEqual(
    membersOf('NativeTokenizer').sort(),
  )
})

it('throws only codes that native/errors.ts explains', () => {
  const inRust = readFileSync('native/src/failure.rs', 'utf8').matchAll(/"(NATIVE_[A-Z_]+)"/g)
  expect([...inRust].map((match) => match[1]).sort()).toEqual([...ADDON_ERROR_CODES].sort())
})
