import { describe, expect, it } from 'vitest'
import { FairQueue } from '../../../src/engine/fair-queue.ts'
import type { Sequence } from '../../../src/engine/sequence.ts'
import { SequenceStatus } from '../../../src/engine/sequence.ts'
import { makeTestSequence, type SpecParts } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

const limits = makeLimits({ numBlocks: 64, maxBlocksPerSeq: 64 })

function makeQueue() {
  const queue = new FairQueue()
  let nextId = 0
  const push = (parts: SpecParts = {}): Sequence => {
    const sequence = makeTestSequence(nextId++, limits, parts)
    queue.push(sequence)
    return sequence
  }
  /** Admit the next one, whose whole prompt is then computed. */
  const admit = (): Sequence | null => {
    const sequence = queue.next()
    if (sequence === null) return null
    queue.admit(sequence)
    sequence.status = SequenceStatus.running
    queue.charge(sequence, sequence.numTokens, true)
    queue.checkIntegrity(() => {})
    return sequence
  }
  const drain = (): number[] => {
    const ids: number[] = []
    for (let one = admit(); one !== null; one = admit()) ids.push(one.id)
    return ids
  }
  return { queue, push, admit, drain }
}

describe('FairQueue', () => {
  it('keeps the order of arrival of one tenant', () => {
    const { push, drain } = makeQueue()
    for (let index = 0; index < 5; index++) push()
    expect(drain()).toEqual([0, 1, 2, 3, 4])
  })

  it('lets a tenant with one request in before another one’s second', () => {
    const { push, drain } = makeQueue()
    for (let index = 0; index < 4; index++) push({ tenant: 'many' })
    push({ tenant: 'one' })
    expect(drain()).toEqual([0, 4, 1, 2, 3])
  })

  it('measures in tokens, not in requests', () => {
    const { push, drain } = makeQueue()
    for (let index = 0; index < 2; index++) push({ tenant: 'long', promptTokens: 20 })
    for (let index = 0; index < 6; index++) push({ tenant: 'short', promptTokens: 4 })
    // 21 against 5 each: four short ones weigh less than the long one, five weigh more.
    expect(drain()).toEqual([0, 2, 3, 4, 5, 6, 1, 7])
  })

  it('gives no credit for idleness', () => {
    const { push, admit, drain } = makeQueue()
    push({ tenant: 'idle' })
    admit()
    for (let index = 0; index < 8; index++) push({ tenant: 'busy' })
    for (let index = 0; index < 5; index++) admit()
    push({ tenant: 'new' })
    push({ tenant: 'new' })
    // Had it credit, all of its requests would come before the busy one's next.
    expect(drain()).toEqual([6, 9, 10, 7, 8])
  })

  it('serves higher tiers first, and lets every eighth in from below, with the rank that it passed', () => {
    const { push, admit } = makeQueue()
    push({ tier: 'flex' })
    for (let index = 0; index < 10; index++) push()
    push({ tier: 'priority' })
    const admitted = Array.from({ length: 9 }, () => admit() as Sequence)
    expect(admitted.map(({ id }) => id)).toEqual([11, 1, 2, 3, 4, 5, 6, 0, 7])
    expect(admitted.map(({ rank }) => rank)).toEqual([0, 1, 1, 1, 1, 1, 1, 1, 1])
  })

  it('takes the preempted back before the new ones of their tier', () => {
    const { queue, push, admit, drain } = makeQueue()
    const first = push()
    push()
    push({ tier: 'flex' })
    admit()
    first.status = SequenceStatus.preempted
    queue.pushResumed(first)
    expect(drain()).toEqual([0, 1, 2])
  })

  it('does not count work that is done a second time, nor what was found', () => {
    const { queue, push, admit } = makeQueue()
    const sequence = push({ promptTokens: 10 })
    const { tenant } = sequence
    sequence.numChargedTokens = 4
    admit()
    expect(tenant?.workTokens).toBe(7)
    queue.charge(sequence, 10, true)
    expect(tenant?.workTokens).toBe(7)
  })

  it('forgets tenants that have nothing left and owe nothing', () => {
    const { queue, push, admit } = makeQueue()
    for (let index = 0; index < 10_000; index++) {
      const sequence = push({ tenant: `tenant ${index}` })
      admit()
      queue.forget(sequence)
      expect(sequence.tenant).toBe(null)
    }
    expect(queue.numTenants).toBeLessThan(5000)
  })

  it('lets anyone leave from anywhere', () => {
    const { queue, push, drain } = makeQueue()
    const all = Array.from({ length: 12 }, (_, index) => push({ tenant: `t${index % 4}` }))
    for (const index of [0, 4, 8, 7, 2]) {
      queue.remove(all[index] as Sequence)
      queue.checkIntegrity(() => {})
    }
    expect([queue.size, queue.numTokens]).toEqual([7, 21])
    expect(drain().sort((a, b) => a - b)).toEqual([1, 3, 5, 6, 9, 10, 11])
  })
})
