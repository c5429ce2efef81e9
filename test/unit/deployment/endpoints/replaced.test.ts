/** What becomes of requests, and of memory, when a declaration replaces an endpoint that serves. */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { beforeEach, expect, it } from 'vitest'
import type { EndpointPool } from '../../../../src/deployment/endpoints/endpoint-pool.ts'
import type { EndpointSpec } from '../../../../src/deployment/endpoints/endpoint-spec.ts'
import { ask } from '../../../support/ask-pool.ts'
import { endpointSpec, variantSpec } from '../../../support/endpoint-builders.ts'
import { FakeMachine } from '../../../support/fake-machine.ts'

let machine: FakeMachine
beforeEach(() => {
  machine = new FakeMachine()
  machine.models.set('small', { weightsBytes: 100, kvBytes: 90 })
})

function serving(change: Partial<EndpointSpec> = {}): EndpointSpec {
  return endpointSpec({
    name: 'small',
    variants: [variantSpec({ name: 'only', source: 'small' })],
    coldStartWaitMs: 60_000,
    ...change,
  })
}

function declare(pool: EndpointPool, change: Partial<EndpointSpec>): void {
  pool.apply({ ...pool.catalog, endpoints: [serving(change)] })
}

it('a request that waits for an endpoint that is replaced is answered by its successor', async () => {
  const pool = machine.pool([serving()])
  const asked = ask(pool, 'small')
  await machine.advance(100)
  expect(machine.replicas).toHaveLength(1)
  declare(pool, { maxNumSeqs: 7 })
  await machine.advance(10_000)
  expect(asked.end).toBe('done')
  expect(machine.replicas).toHaveLength(2)
})

it('a request that waits for an endpoint that is removed hears of it', async () => {
  const pool = machine.pool([serving()])
  const asked = ask(pool, 'small')
  await machine.advance(100)
  pool.apply({ ...pool.catalog, endpoints: [] })
  await machine.advance(10_000)
  expect(asked.end).toMatchObject({ code: 'DEPLOYMENT_UNKNOWN_MODEL' })
})

it('a replaced endpoint keeps its id for its successor, and itself for nobody', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const pool = machine.pool([serving()])
  const first = pool.endpoints.get('small')
  const replaced = [new WeakRef(first as object)]
  const id = first?.id
  for (let maxNumSeqs = 2; maxNumSeqs < 6; maxNumSeqs += 1) {
    declare(pool, { maxNumSeqs })
    await machine.advance(1000)
    replaced.push(new WeakRef(pool.endpoints.get('small') as object))
  }
  expect(pool.endpoints.get('small')?.id).toBe(id)
  await machine.advance(1000)
  collect()
  // The last one serves; the first is held by this test's own frame.
  expect(replaced.slice(1, -1).map((one) => one.deref())).toEqual([undefined, undefined, undefined])
})
