import { expect, it } from 'vitest'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { InFlight } from '../../../src/server/in-flight.ts'
import { ManualTimers } from '../../support/manual-timers.ts'

const setUp = () => ({
  inFlight: new InFlight(createMetrics('0').openStreams),
  timers: new ManualTimers(),
})

it('a drain without open requests is over at once and closes the gate', async () => {
  const { inFlight, timers } = setUp()
  await inFlight.drain(1000, timers)
  expect(inFlight.isDraining).toBe(true)
  expect(() => inFlight.enter()).toThrow(
    expect.objectContaining({ code: 'SERVER_DRAINING', status: 503 }),
  )
  expect(timers.numPending).toBe(0)
})

it('one request of many prompts listens on its signal without a warning', async () => {
  const warnings: string[] = []
  const onWarning = ({ name }: Error) => warnings.push(name)
  process.on('warning', onWarning)
  const { signal } = setUp().inFlight.enter()
  for (let prompt = 0; prompt < 128; prompt += 1) signal.addEventListener('abort', () => {})
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', onWarning)
  expect(warnings).toEqual([])
})

it('a drain waits for the last request and aborts none that leaves in time', async () => {
  const { inFlight, timers } = setUp()
  const [first, second] = [inFlight.enter(), inFlight.enter()]
  let isOver = false
  const drained = inFlight.drain(1000, timers).then(() => {
    isOver = true
  })
  inFlight.leave(first)
  inFlight.leave(first)
  await new Promise((resolve) => setImmediate(resolve))
  expect([isOver, inFlight.numOpen]).toEqual([false, 1])
  inFlight.leave(second)
  await drained
  expect([first.signal.aborted, second.signal.aborted, timers.numPending]).toEqual([
    false,
    false,
    0,
  ])
})

it('what is left after the grace period is aborted, and still waited for', async () => {
  const { inFlight, timers } = setUp()
  const late = inFlight.enter()
  const drained = inFlight.drain(1000, timers)
  timers.advance(999)
  expect(late.signal.aborted).toBe(false)
  timers.advance(1)
  expect(late.signal.reason).toMatchObject({ code: 'SERVER_SHUT_DOWN', status: 503 })
  inFlight.leave(late)
  await drained
})
