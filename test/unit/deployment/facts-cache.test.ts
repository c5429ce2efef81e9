import { expect, it } from 'vitest'
import { FactsCache } from '../../../src/deployment/facts-cache.ts'
import type { ModelFacts } from '../../../src/deployment/model-facts.ts'

/** A cache, and the paths that it had read. */
function cache(fails = false) {
  const paths: string[] = []
  const facts = new FactsCache(async (path) => {
    paths.push(path)
    if (fails) throw new Error('unreadable')
    return { path } as ModelFacts
  })
  return { facts, paths }
}

it('a checkpoint is read once for all who ask, also while it is being read', async () => {
  const { facts, paths } = cache()
  const source = { path: 'a.gguf', digest: '1' }
  const [first, second] = await Promise.all([facts.of(source), facts.of({ ...source })])
  expect(second).toBe(first)
  expect(await facts.of(source)).toBe(first)
  expect(paths).toEqual(['a.gguf'])
})

it('other bytes at the same path are read', async () => {
  const { facts, paths } = cache()
  await facts.of({ path: 'a.gguf', digest: '1' })
  await facts.of({ path: 'a.gguf', digest: '2' })
  expect(paths).toEqual(['a.gguf', 'a.gguf'])
})

it('what could not be read is tried again', async () => {
  const { facts, paths } = cache(true)
  const source = { path: 'a.gguf', digest: '1' }
  await expect(facts.of(source)).rejects.toThrow('unreadable')
  await expect(facts.of(source)).rejects.toThrow('unreadable')
  expect(paths).toEqual(['a.gguf', 'a.gguf'])
})

it('few are kept, those that were asked for last', async () => {
  const { facts, paths } = cache()
  const of = (digest: string) => facts.of({ path: digest, digest })
  for (const digest of ['1', '2', '3', '4', '1', '5', '1', '2']) await of(digest)
  expect(paths).toEqual(['1', '2', '3', '4', '5', '2'])
})
