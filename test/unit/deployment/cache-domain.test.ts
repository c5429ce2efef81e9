import { expect, it } from 'vitest'
import { cacheDomain } from '../../../src/deployment/cache-domain.ts'
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
