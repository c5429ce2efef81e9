import { describe, expect, it } from 'vitest'
import type { Sequence } from '../../../src/engine/sequence.ts'
import { WaitingQueue } from '../../../src/engine/waiting-queue.ts'
import { makeTestSequence } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

const makeSequences = (count: number): Sequence[] =>
  Array.from({ length: count }, (_, index) => makeTestSequence(index, makeLimits()))

function idsOf(queue: WaitingQueue): number[] {
  const ids: number[] = []
  for (let sequence = queue.head; sequence !== null; sequence = sequence.queueNext) {
    ids.push(sequence.id)
  }
  return ids
}

describe('WaitingQueue', () => {
  it('keeps the order in which sequences came', () => {
    const queue = new WaitingQueue()
    for (const sequence of makeSequences(3)) queue.pushBack(sequence)
    queue.checkIntegrity()
    expect(idsOf(queue)).toEqual([0, 1, 2])
  })

  it.each([
    ['the head', 0, [1, 2]],
    ['the middle', 1, [0, 2]],
    ['the tail', 2, [0, 1]],
  ])('lets %s leave', (_, index, left) => {
    const queue = new WaitingQueue()
    const sequences = makeSequences(3)
    for (const sequence of sequences) queue.pushBack(sequence)
    queue.remove(sequences[index] as Sequence)
    queue.checkIntegrity()
    expect([idsOf(queue), queue.size]).toEqual([left, 2])
  })

  it('is empty again after its only sequence left', () => {
    const queue = new WaitingQueue()
    const [sequence] = makeSequences(1) as [Sequence]
    queue.pushBack(sequence)
    queue.remove(sequence)
    queue.checkIntegrity()
    expect([queue.head, queue.size]).toEqual([null, 0])
    expect(() => queue.remove(sequence)).toThrow('invariant W2')
  })
})
