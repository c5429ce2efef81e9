/**
 * Random walks over the endpoint pool on a machine of paper: requests, hang-ups, crashes during load and drain, torn
 * weights, a full disk, reloads, unloads and clock jumps, with the invariants of its modules checked after every act.
 */

import { describe, expect, it } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import type { EndpointPool } from '../../src/deployment/endpoints/endpoint-pool.ts'
import type { EndpointCatalog, EndpointSpec } from '../../src/deployment/endpoints/endpoint-spec.ts'
import { ask, type Outcome } from '../support/ask-pool.ts'
import { settle } from '../support/deployment-stage.ts'
import { endpointSpec, variantSpec } from '../support/endpoint-builders.ts'
import { FakeMachine } from '../support/fake-machine.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'

const NUM_WALKS = Number(process.env.INGOT_WALKS ?? 60)
const NUM_ACTS = 120
const BUDGET = 1000

const SIZES = { tiny: 60, small: 150, middle: 350, large: 700, huge: 3000 } as const
const NAMES = Object.keys(SIZES)

class Walk {
  readonly machine: FakeMachine = new FakeMachine()
  readonly outcomes: Outcome[] = []
  readonly random: SeededRandom
  readonly pool: EndpointPool
  readonly log: string[] = []

  constructor(seed: number) {
    this.random = seededRandom(seed)
    for (const [name, weightsBytes] of Object.entries(SIZES)) {
      const kvBytes = 20 + this.random.below(60)
      const loadMs = 50 + this.random.below(3000)
      this.machine.models.set(name, { weightsBytes, kvBytes, minKvBytes: 20, loadMs })
    }
    this.machine.planMs = this.random.below(2) * 300
    const { endpoints, maxConcurrentLoads } = this.#catalog()
    this.pool = this.machine.pool(endpoints, { memoryBudgetBytes: BUDGET, maxConcurrentLoads })
  }

  async act(): Promise<void> {
    const { machine, random, pool } = this
    const kind = random.below(20)
    this.log.push(String(kind))
    if (kind < 8) this.#ask()
    else if (kind === 8) this.#pick(this.outcomes)?.controller.abort(new Error('hung up'))
    else if (kind === 9) this.#pick(machine.replicas.filter(({ isAlive }) => isAlive))?.crash()
    else if (kind === 10) this.#pick(machine.replicas.filter(({ isAlive }) => isAlive))?.giveUp()
    else if (kind === 11) this.#spoil()
    else if (kind === 12) machine.planFaults.clear()
    else if (kind === 13) pool.apply({ ...pool.catalog, ...this.#catalog() })
    else if (kind === 14) {
      const endpoint = this.#pick([...pool.endpoints.values()])
      void this.#pick([...(endpoint?.variants.values() ?? [])])?.drain('it was unloaded')
    } else if (kind === 15) {
      // The process was stopped and goes on: timers fall due in one go.
      machine.timer.advance(random.below(200_000))
    } else if (kind === 16) {
      this.#pick(machine.replicas.filter(({ isAlive }) => isAlive))?.deafen()
    } else await machine.advance(random.below(2000), 200)
    await settle()
  }

  check(): void {
    const { machine, pool } = this
    const { budget } = pool
    expect(budget.reservedBytes, 'P1').toBeLessThanOrEqual(budget.limit.bytes)
    expect(machine.usedBytes, 'P1').toBeLessThanOrEqual(budget.reservedBytes)
    expect(machine.numCutOff, 'P2').toBe(0)
    for (const endpoint of pool.endpoints.values()) {
      for (const variant of endpoint.variants.values()) {
        if (endpoint.spec.mode !== 'serverless') continue
        expect(variant.replicas.size, 'P4').toBeLessThanOrEqual(1)
      }
    }
    expect([...pool.endpoints.keys()], 'P6').toEqual(pool.catalog.endpoints.map(({ name }) => name))
    expect(pool.queue.numLoading).toBeLessThanOrEqual(4)
    expect(pool.queue.numLoading).toBeGreaterThanOrEqual(0)
  }

  /** Everything mends itself: nobody may be left waiting. */
  async finish(): Promise<void> {
    this.machine.planFaults.clear()
    for (let round = 0; round < 40; round += 1) {
      await this.machine.advance(20_000, 1000)
      this.check()
    }
    const left = this.outcomes.filter(({ end }) => end === null)
    expect(
      left.map(({ model }) => model),
      'P3',
    ).toEqual([])
    for (const { end, events } of this.outcomes) this.#checkEnd(end, events.at(-1)?.type)
    expect(this.pool.queue.numLoading).toBe(0)
    const closed = this.pool.close(0)
    let isClosed = false
    void closed.then(() => {
      isClosed = true
    })
    for (let round = 0; round < 20 && !isClosed; round += 1) await this.machine.advance(100)
    expect(isClosed, 'P5').toBe(true)
    expect(this.machine.numAlive, 'P5').toBe(0)
    expect(this.pool.budget.reservedBytes, 'P5').toBe(0)
  }

  #checkEnd(end: Outcome['end'], last: string | undefined): void {
    if (end === 'done') expect(last, 'P3').toBe('done')
    else if (!(end instanceof ServingError)) expect(end?.message, 'P3').toBe('hung up')
  }

  #ask(): void {
    const { random, pool } = this
    const model = random.below(30) === 0 ? 'unknown' : (NAMES[random.below(NAMES.length)] as string)
    const change = {
      maxTokens: 1 + random.below(random.below(4) === 0 ? 200 : 5),
      coldStartWaitMs: random.below(4) === 0 ? 0 : random.below(60_000),
      numChoices: 1 + random.below(2),
    }
    this.outcomes.push(ask(pool, model, change))
  }

  #spoil(): void {
    const message = 'the disk is full'
    const error = new ServingError('STORE_IO', { status: 507, retryable: true, message })
    this.machine.planFaults.set(NAMES[this.random.below(NAMES.length)] as string, error)
  }

  #catalog(): Pick<EndpointCatalog, 'endpoints' | 'maxConcurrentLoads'> {
    const { random } = this
    const names = NAMES.filter(() => random.below(8) > 0)
    return {
      maxConcurrentLoads: 1 + random.below(3),
      endpoints: names.map((name) => this.#spec(name)),
    }
  }

  #spec(name: string): EndpointSpec {
    const { random } = this
    const other = NAMES[random.below(NAMES.length)] as string
    const variants = [variantSpec({ name, source: name })]
    if (other !== name && random.below(3) === 0) {
      variants.push(variantSpec({ name: other, source: other }))
    }
    const isDedicated = name === 'tiny' && random.below(2) === 0
    const max = 1 + random.below(3)
    const observeMs = random.below(30_000)
    const rollout = { percent: 1 + random.below(100), observeMs, maxErrorRate: 0.2, minRequests: 2 }
    return endpointSpec({
      name,
      variants,
      mode: isDedicated ? 'dedicated' : 'serverless',
      state: random.below(10) === 0 ? 'STOPPED' : 'STARTED',
      inactiveTimeoutMs: random.below(2) === 0 ? null : 1000 + random.below(60_000),
      ...(random.below(2) === 0 ? {} : { rollout }),
      isPinned: name === 'small' && random.below(4) === 0,
      autoscaling: {
        minReplicas: random.below(max + 1),
        maxReplicas: max,
        targetLoad: 0.8,
        scaleUpWindowMs: 1000,
        scaleDownWindowMs: 5000,
      },
    })
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[this.random.below(Math.max(1, items.length))]
  }
}

describe('the endpoint pool under random faults', () => {
  it.each(Array.from({ length: NUM_WALKS }, (_, seed) => seed))(
    'keeps its invariants: walk %d',
    async (seed) => {
      const walk = new Walk(seed)
      for (let act = 0; act < NUM_ACTS; act += 1) {
        await walk.act()
        walk.check()
      }
      await walk.finish()
    },
  )
})
