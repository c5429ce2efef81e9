/** Ten thousand wait and 512 run: a step touches whom it schedules, not who waits. Counted, not timed. */

import { expect, it } from 'vitest'
import { Scheduler } from '../../../src/engine/scheduler.ts'
import { type Sequence, SequenceStatus } from '../../../src/engine/sequence.ts'
import { makeTestSequence } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

const NUM_RUNNING = 512

/**
 * Reads and writes of waiting sequences a step, over a hundred steps.
 *
 * @param numEnding - streams that end in each step and leave their places
 */
function touchesOf(numWaiting: number, numEnding = 0): number {
  const limits = makeLimits({
    maxNumSeqs: NUM_RUNNING,
    maxNumBatchedTokens: 2048,
    maxLogitsRows: 1024,
    blockSize: 16,
    maxBlocksPerSeq: 64,
    numBlocks: 64 * NUM_RUNNING,
  })
  const scheduler = new Scheduler(limits, { targetItl: 'auto' })
  let nextId = 0
  const make = (): Sequence => {
    const id = nextId++
    const tier = id >= NUM_RUNNING && id % 3 === 0 ? 'flex' : 'default'
    return makeTestSequence(id, limits, { tenant: `t${id % 97}`, tier, maxTokens: 512 })
  }
  const step = (ending = 0): void => {
    scheduler.schedule(0)
    for (const sequence of scheduler.running.slice(0, ending))
      sequence.status = SequenceStatus.finishedLength
    if (ending > 0) scheduler.removeFinished()
    for (const sequence of scheduler.running) {
      sequence.numComputedTokens += sequence.numScheduledTokens
      sequence.numScheduledTokens = 0
      if (sequence.numComputedTokens === sequence.numTokens) sequence.append(0)
    }
  }
  for (let index = 0; index < NUM_RUNNING; index++) scheduler.add(make())
  for (let index = 0; index < 4; index++) step()
  expect(scheduler.running).toHaveLength(NUM_RUNNING)
  let numTouches = 0
  for (let index = 0; index < numWaiting; index++) {
    const sequence = make()
    const counted: Sequence = new Proxy(sequence, {
      get: (target, key) => {
        numTouches += 1
        const value: unknown = Reflect.get(target, key, target)
        // Methods with private fields run on the sequence itself.
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, key, value) => {
        numTouches += 1
        return Reflect.set(target, key, value, target)
      },
    })
    scheduler.add(counted)
  }
  expect(scheduler.numWaiting).toBe(numWaiting)
  numTouches = 0
  for (let index = 0; index < 100; index++) step(numEnding)
  return numTouches / 100
}

it('a step beside 10,000 waiting sequences touches as few of them as beside 100', () => {
  const [few, many] = [touchesOf(100), touchesOf(10_000)]
  expect(many).toBeLessThanOrEqual(few)
  expect(many).toBeLessThan(20)
})

it('letting two in at each step costs what two cost, and little more beside 10,000 than beside 1,000', () => {
  const [few, many] = [touchesOf(1000, 2), touchesOf(10_000, 2)]
  console.info(JSON.stringify({ few, many }))
  expect(many).toBeLessThan(1.5 * few)
})
