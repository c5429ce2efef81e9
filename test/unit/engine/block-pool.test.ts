import { describe, expect, it } from 'vitest'
import type { BlockId } from '../../../src/base/ids.ts'
import { BlockPool } from '../../../src/engine/block-pool.ts'

const take = (pool: BlockPool, count: number): BlockId[] =>
  Array.from({ length: count }, () => pool.allocate())

describe('BlockPool', () => {
  it('hands out a fresh pool in order', () => {
    const pool = new BlockPool(4)
    expect(take(pool, 4)).toEqual([0, 1, 2, 3])
    expect(pool.numFree).toBe(0)
    pool.checkIntegrity()
  })

  it('reuses the blank block that was released last, so that little memory is touched', () => {
    const pool = new BlockPool(4)
    take(pool, 3)
    for (const id of [2, 0, 1]) pool.release(id as BlockId)
    pool.checkIntegrity()
    expect(take(pool, 4)).toEqual([1, 0, 2, 3])
  })

  it('survives being emptied and filled again, down to one block', () => {
    const pool = new BlockPool(1)
    for (let round = 0; round < 3; round++) {
      expect(pool.allocate()).toBe(0)
      pool.checkIntegrity()
      pool.release(0 as BlockId)
      pool.checkIntegrity()
    }
  })

  it('keeps a shared block until its last holder gives it back', () => {
    const pool = new BlockPool(2)
    const id = pool.allocate()
    pool.addReference(id)
    pool.release(id)
    expect([pool.refCount(id), pool.numFree]).toEqual([1, 1])
    pool.release(id)
    expect([pool.refCount(id), pool.numFree]).toEqual([0, 2])
    pool.checkIntegrity()
  })

  it('refuses to give what it has not, and to take back what nobody holds', () => {
    const pool = new BlockPool(1)
    expect(() => pool.release(0 as BlockId)).toThrow('invariant B1')
    expect(() => pool.release(1 as BlockId)).toThrow('invariant B1')
    expect(() => pool.addReference(0 as BlockId)).toThrow('invariant B1')
    pool.allocate()
    expect(() => pool.allocate()).toThrow('invariant B2')
  })
})
