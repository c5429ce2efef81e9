import { describe, expect, it } from 'vitest'
import { LoadTimes } from '../../../../src/deployment/endpoints/load-times.ts'
import {
  arithmetic,
  budgetLimit,
  MemoryBudget,
} from '../../../../src/deployment/endpoints/memory-budget.ts'
import { poolHealth } from '../../../../src/deployment/endpoints/pool-health.ts'

const MIB = 2 ** 20
const MACHINE = { freeMemoryBytes: 1000 * MIB, memoryReason: 'free memory' }

describe('the memory budget', () => {
  it('is what was configured, else most of what is free, with its reason', () => {
    expect(budgetLimit(5, MACHINE)).toEqual({ bytes: 5, reason: 'as configured' })
    expect(budgetLimit(null, MACHINE)).toEqual({
      bytes: 800 * MIB,
      reason: '80 % of the 1000.0 MiB of free memory',
    })
  })

  it('reserves no more than it has, and takes each reservation back once', () => {
    let numFreed = 0
    const budget = new MemoryBudget({ bytes: 10, reason: '' }, () => {
      numFreed += 1
    })
    const held = budget.reserve(7)
    expect(() => budget.reserve(4)).toThrow(/P1/)
    expect([budget.reservedBytes, budget.freeBytes]).toEqual([7, 3])
    held.release()
    expect(() => held.release()).toThrow(/P1/)
    expect([budget.reservedBytes, numFreed]).toEqual([0, 1])
  })

  it('takes nothing away when it becomes smaller', () => {
    const budget = new MemoryBudget({ bytes: 10, reason: '' }, () => {})
    budget.reserve(7)
    budget.setLimit({ bytes: 5, reason: 'smaller' })
    expect(budget.freeBytes).toBe(-2)
    expect(() => budget.reserve(0)).toThrow(/P1/)
  })

  it('shows its arithmetic', () => {
    const size = { weightsBytes: 90 * MIB, kvBytes: 500 * MIB, minKvBytes: 10 * MIB }
    expect(arithmetic({ ...size, processBytes: 100 * MIB })).toBe(
      'weights 90.0 MiB + KV 10.0 MiB + process 100.0 MiB = 200.0 MiB',
    )
  })
})

describe('load times', () => {
  it('give their median, and the seconds until a load that has begun should end', () => {
    const times = new LoadTimes()
    expect([times.medianMs, times.retryAfterSeconds(0)]).toEqual([null, 5])
    for (const loadMs of [9000, 1000, 3000]) times.add(loadMs)
    expect(times.medianMs).toBe(3000)
    times.add(4000)
    expect(times.medianMs).toBe(3500)
    expect(times.retryAfterSeconds(0)).toBe(4)
    expect(times.retryAfterSeconds(1000)).toBe(3)
    expect(times.retryAfterSeconds(60_000)).toBe(1)
    expect(times.retryAfterSeconds(0, 10_000)).toBe(14)
    expect(times.retryAfterSeconds(0, 1e9)).toBe(600)
  })

  it('follow a machine that has become slower', () => {
    const times = new LoadTimes()
    for (let load = 0; load < 100; load += 1) times.add(1)
    for (let load = 0; load < 16; load += 1) times.add(50)
    expect(times.medianMs).toBe(50)
  })
})

describe('the health of a pool', () => {
  const up = { isServing: true, isStarting: false, isShort: false }
  const starting = { isServing: false, isStarting: true, isShort: true }
  const failed = { isServing: false, isStarting: false, isShort: true }
  it.each([
    ['ok', [up, up]],
    ['ok', []],
    ['degraded', [up, failed]],
    ['degraded', [{ ...up, isShort: true }]],
    ['degraded', [up, starting]],
    ['starting', [starting, failed]],
    ['down', [failed, failed]],
  ] as const)('is %s', (status, endpoints) => {
    expect(poolHealth(endpoints)).toBe(status)
  })
})
