import { describe, expect, it } from 'vitest'
import { RateSearch } from '../../../benchmarks/rate-search.ts'

const OPTIONS = { firstRate: 2, growth: 2, precision: 1.12, leastRate: 0.1, tries: 2 }

/** Rates that were tried against a server that keeps up to `capacity`. */
function tried(search: RateSearch, capacity: number): number[] {
  const rates: number[] = []
  for (let rate = search.next(); rate !== null; rate = search.next()) {
    rates.push(Math.round(rate * 100) / 100)
    search.report(rate, rate <= capacity)
  }
  return rates
}

describe('RateSearch', () => {
  it('doubles until a rate fails twice, then halves the gap until it is narrow', () => {
    const search = new RateSearch(OPTIONS)
    expect(tried(search, 11)).toEqual([2, 4, 8, 16, 16, 11.31, 11.31, 9.51, 10.37])
    expect(search.best).toBeCloseTo(10.37, 2)
  })

  it('goes down when the first rate fails', () => {
    const search = new RateSearch({ ...OPTIONS, tries: 1 })
    expect(tried(search, 0.6)).toEqual([2, 1, 0.5, 0.71, 0.59, 0.65])
    expect(search.best).toBeCloseTo(0.59, 2)
  })

  it('gives up below the least rate, having found none', () => {
    const search = new RateSearch({ ...OPTIONS, tries: 1 })
    expect(tried(search, 0)).toEqual([2, 1, 0.5, 0.25, 0.13])
    expect(search.best).toBe(0)
  })

  it('forgives a failure when the second try passes', () => {
    const search = new RateSearch(OPTIONS)
    search.report(2, false)
    expect(search.next()).toBe(2)
    search.report(2, true)
    expect([search.best, search.next()]).toEqual([2, 4])
  })
})
