import { expect, it } from 'vitest'
import { ServedSpeed } from '../../../../src/deployment/endpoints/served-speed.ts'
import { ask } from '../../../support/ask-pool.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'

it('is the median of long enough answers, and unknown before three of them', () => {
  const speed = new ServedSpeed()
  for (const [numTokens, decodeMs] of [
    [101, 1000],
    [2, 1],
    [101, 0],
    [101, 2000],
  ] as const) {
    speed.add(numTokens, decodeMs)
    expect(speed.tokensPerSecond).toBeNull()
  }
  speed.add(101, 500)
  expect(speed.tokensPerSecond).toBe(100)
})

it('follows a machine that has become slower', () => {
  const speed = new ServedSpeed()
  for (let answer = 0; answer < 40; answer += 1) speed.add(11, 100)
  for (let answer = 0; answer < 20; answer += 1) speed.add(11, 1000)
  expect(speed.tokensPerSecond).toBe(10)
})

it('is measured of a variant that serves, and told in its profile', async () => {
  const machine = new FakeMachine()
  machine.models.set('m', { weightsBytes: 100, kvBytes: 90, tokenMs: 100 })
  const variants = [variantSpec({ name: 'only', source: 'm' })]
  const pool = machine.pool([endpointSpec({ name: 'm', variants, coldStartWaitMs: 60_000 })])
  const speed = () => pool.endpoints.get('m')?.variants.get('only')?.tokensPerSecond
  expect(speed()).toBeNull()
  for (let answer = 0; answer < 3; answer += 1) {
    const { end } = await answered()
    expect(end).toBe('done')
  }
  expect(speed()).toBeGreaterThan(5)
  expect(speed()).toBeLessThan(20)

  async function answered() {
    const outcome = ask(pool, 'm', { maxTokens: 20 })
    await machine.advance(4000)
    return outcome
  }
})
