import { expect, it } from 'vitest'
import { affinityKey, cacheDomain } from '../../../src/deployment/cache-domain.ts'
import { CACHE_DOMAIN_WORDS } from '../../../src/engine/prefix-cache.ts'

const domainOf = (principal: string, cacheSalt: string | null) =>
  cacheDomain({ principal, cacheSalt })

it('keeps callers and salts apart, and no two pairs are one', () => {
  const pairs = [
    ['local', null],
    ['local', 'a'],
    ['locala', null],
    ['key:1', 'a'],
    ['key:1a', null],
    ['key:1', '0:'],
  ] as const
  const domains = pairs.map(([principal, salt]) => domainOf(principal, salt).join())
  expect(new Set(domains).size).toBe(pairs.length)
  expect(domainOf('local', 'a')).toEqual(domainOf('local', 'a'))
  expect(domainOf('local', 'a')).toHaveLength(CACHE_DOMAIN_WORDS)
})

it('a cache key stands for its text and its caller, and changes no domain', () => {
  const keys = [
    ['local', 'a'],
    ['local', ''],
    ['key:1', 'a'],
    ['locala', ''],
  ] as const
  const all = keys.map(([principal, cacheKey]) => affinityKey({ principal, cacheKey }))
  expect(new Set(all).size).toBe(keys.length)
  for (const key of all) expect(key).toMatch(/^[0-9a-f]{16}$/)
  expect(affinityKey({ principal: 'local', cacheKey: 'a' })).toBe(all[0])
  expect(affinityKey({ principal: 'local', cacheKey: null })).toBe(null)
})
