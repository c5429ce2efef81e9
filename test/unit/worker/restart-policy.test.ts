import { expect, it } from 'vitest'
import { RestartPolicy } from '../../../src/worker/restart-policy.ts'

const settings = { firstDelayMs: 100, maxDelayMs: 1000, maxFailures: 7, stableMs: 60_000 }

it('doubles the delay up to the largest, then gives up', () => {
  const policy = new RestartPolicy(settings, () => 1)
  const delays = Array.from({ length: 7 }, () => policy.delayAfterEnd(0))
  expect(delays).toEqual([100, 200, 400, 800, 1000, 1000, null])
  expect(policy.numFailures).toBe(7)
})

it('spreads the delay over its upper half', () => {
  expect(new RestartPolicy(settings, () => 0).delayAfterEnd(0)).toBe(50)
  expect(new RestartPolicy(settings, () => 0.5).delayAfterEnd(0)).toBe(75)
})

it('forgets failures after a run that was stable', () => {
  const policy = new RestartPolicy(settings, () => 1)
  for (let failure = 0; failure < 5; failure++) policy.delayAfterEnd(59_999)
  expect(policy.delayAfterEnd(60_000)).toBe(100)
})
