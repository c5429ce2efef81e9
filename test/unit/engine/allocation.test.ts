/**
 * Scheduling, filling and committing allocate nothing in steady state (house style 2.9, point 9), and sequences keep
 * one hidden shape. What remains is the noise of the engine and of the test's own clock.
 */

import { PerformanceObserver } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { makeArrays } from '../../../benchmarks/batch-arrays.ts'
import { commitStep } from '../../../src/engine/commit.ts'
import { InputBatch } from '../../../src/engine/input-batch.ts'
import { Scheduler } from '../../../src/engine/scheduler.ts'
import { makeTestSequence } from '../../support/engine-builders.ts'
import { makeLimits } from '../../support/fake-executor.ts'

const NUM_SEQS = 32
const NUM_WARM_STEPS = 24_000
const NUM_STEPS = 5000
const MAX_BYTES_PER_STEP = 8

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

function makeDecodingEngine() {
  const maxBlocksPerSeq = Math.ceil((NUM_WARM_STEPS + NUM_STEPS + 100) / 16)
  const limits = makeLimits({
    maxNumBatchedTokens: 256,
    maxNumSeqs: NUM_SEQS,
    maxLogitsRows: 64,
    blockSize: 16,
    maxBlocksPerSeq,
    numBlocks: maxBlocksPerSeq * NUM_SEQS,
  })
  const scheduler = new Scheduler(limits, { targetItl: 'auto' })
  const batch = new InputBatch(limits, makeArrays(limits))
  const drewToken = new Uint8Array(NUM_SEQS)
  for (let index = 0; index < NUM_SEQS; index++) {
    const maxTokens = NUM_WARM_STEPS + NUM_STEPS + 50
    scheduler.add(makeTestSequence(index, limits, { promptTokens: 1 + index, maxTokens }))
  }
  const step = () => {
    scheduler.schedule(1)
    for (let index = 0; index < scheduler.admitted.length; index++) {
      const sequence = scheduler.admitted[index]
      if (sequence !== undefined) batch.takeSlot(sequence)
    }
    batch.fill(scheduler.running)
    scheduler.learn(batch.numTokens, batch.numKeys, batch.numLogitsRows, 3)
    commitStep(batch, 1, drewToken)
    scheduler.removeFinished()
  }
  return { scheduler, batch, step }
}

describe('a decode step', () => {
  it(`allocates less than ${MAX_BYTES_PER_STEP} bytes`, async () => {
    const { scheduler, batch, step } = makeDecodingEngine()
    for (let index = 0; index < NUM_WARM_STEPS; index++) step()
    let numCollections = 0
    const observer = new PerformanceObserver((list) => {
      numCollections += list.getEntries().length
    })
    collectGarbage()
    observer.observe({ entryTypes: ['gc'] })
    const before = process.memoryUsage().heapUsed
    for (let index = 0; index < NUM_STEPS; index++) step()
    const bytesPerStep = (process.memoryUsage().heapUsed - before) / NUM_STEPS
    await new Promise((resolve) => setImmediate(resolve))
    observer.disconnect()
    console.info(`decode step of ${NUM_SEQS} sequences: ${bytesPerStep.toFixed(2)} B`)
    expect(batch.numLogitsRows).toBe(NUM_SEQS)
    expect(scheduler.running[0]?.numTokens).toBe(1 + NUM_WARM_STEPS + NUM_STEPS)
    // A collection in between would hide what was allocated; without allocation there is none.
    expect(numCollections).toBe(0)
    expect(bytesPerStep).toBeLessThan(MAX_BYTES_PER_STEP)
  })
})

describe('sequences', () => {
  it('have the same hidden shape at every age', () => {
    setFlagsFromString('--allow-natives-syntax')
    const haveSameMap: (a: unknown, b: unknown) => boolean = runInNewContext(
      '(a, b) => %HaveSameMap(a, b)',
    )
    const { scheduler, step } = makeDecodingEngine()
    const young = makeTestSequence(999, makeLimits(), { promptLogprobs: 3, stopTokenIds: [1] })
    for (let index = 0; index < 3; index++) step()
    expect(haveSameMap(young, scheduler.running[0])).toBe(true)
  })
})
