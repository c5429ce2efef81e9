/** A replica's adapters through crashes: told to the process that runs, given to the next one. */

import { afterEach, describe, expect, it } from 'vitest'
import type { ServingError } from '../../../src/base/errors.ts'
import { AdapterDesk } from '../../../src/worker/adapter-desk.ts'
import type { AdapterSpec, FromEngine } from '../../../src/worker/messages.ts'
import type { SupervisorOptions } from '../../../src/worker/replica-supervisor.ts'
import { caught } from '../../support/caught.ts'
import { Listener, Supervised } from '../../support/supervised.ts'

const DIES = -1
const open: Supervised[] = []

/** With what its processes were started with, of folders whose names begin with `told`. */
function make(options: Partial<SupervisorOptions> = {}, adapters: readonly AdapterSpec[] = []) {
  const given: string[] = []
  const onAdapterFailed = (slot: number, { message }: ServingError) => {
    given.push(`${slot}: ${message}`)
  }
  const supervised = new Supervised({ adapters }, { onAdapterFailed, ...options })
  open.push(supervised)
  return Object.assign(supervised, { given })
}

afterEach(async () => {
  await Promise.all(
    open.splice(0).map(({ supervisor, timer }) => {
      const stopped = supervisor.stop()
      timer.advance(60_000)
      return stopped
    }),
  )
})

const adapter = (slot: number, folder: string): AdapterSpec => ({
  ...{ slot, folder },
  ...{ digest: 'sha256:00', maxRank: 8 },
})

async function crash(supervised: Supervised): Promise<void> {
  const ready = supervised.state('ready')
  const restarting = supervised.state('restarting')
  supervised.submit(new Listener(), { promptIds: [DIES] })
  await restarting
  supervised.timer.advance(1000)
  await ready
}

describe('a replica with adapters', () => {
  it('gives the next process what the one before it held, and not what was unloaded', async () => {
    const supervised = make({}, [adapter(1, 'told first')])
    await supervised.supervisor.start()
    await supervised.supervisor.loadAdapter(adapter(2, 'told second'))
    await supervised.supervisor.loadAdapter(adapter(3, 'told third'))
    await supervised.supervisor.unloadAdapter(1)
    await crash(supervised)
    expect(supervised.given).toEqual(['1: told first', '2: told second', '3: told third'])
  })

  it('does not hold what the engine refused, and says why', async () => {
    const supervised = make()
    await supervised.supervisor.start()
    const error = await caught(supervised.supervisor.loadAdapter(adapter(1, 'broken')))
    expect(error).toMatchObject({ code: 'CHECKPOINT_ADAPTER_TENSOR', message: 'broken' })
    await crash(supervised)
    expect(supervised.given).toEqual([])
  })

  it('tells of an adapter that could not be loaded at the start, and starts', async () => {
    const failures: [number, ServingError][] = []
    const onAdapterFailed = (slot: number, error: ServingError) => failures.push([slot, error])
    const supervised = make({ onAdapterFailed }, [adapter(1, 'fine'), adapter(2, 'broken')])
    await supervised.supervisor.start()
    expect(failures.map(([slot, { code }]) => [slot, code])).toEqual([
      [2, 'CHECKPOINT_ADAPTER_TENSOR'],
    ])
    expect(supervised.supervisor.status().state).toBe('ready')
  })

  it('holds an adapter that came while the process died, in the next one', async () => {
    const supervised = make()
    await supervised.supervisor.start()
    const restarting = supervised.state('restarting')
    await supervised.supervisor.loadAdapter(adapter(1, 'told deadly'))
    await restarting
    await supervised.supervisor.loadAdapter(adapter(2, 'told between'))
    const ready = supervised.state('ready')
    supervised.timer.advance(1000)
    await ready
    expect(supervised.given).toEqual(['1: told deadly', '2: told between'])
  })
})

describe('the desk in the engine process', () => {
  function desk(used: readonly number[], holds: boolean) {
    const sent: FromEngine[] = []
    const done: string[] = []
    const slots = {
      has: () => true,
      load: async ({ slot }: AdapterSpec) => {
        await new Promise((resolve) => setImmediate(resolve))
        done.push(`load ${slot}`)
        if (slot === 9) throw new Error('no room')
      },
      unload: (slot: number) => {
        done.push(`unload ${slot}`)
      },
    }
    const one = new AdapterDesk({
      slots: holds ? slots : null,
      usesAdapter: (slot) => used.includes(slot),
      send: async (message) => {
        sent.push(message)
      },
    })
    const codes = () =>
      sent.map((message) =>
        message.type === 'adapter' ? (message.error?.code ?? 'done') : 'other',
      )
    return { one, done, codes }
  }
  const settled = () => new Promise((resolve) => setTimeout(resolve, 20))

  it('answers each request, one after the other', async () => {
    const { one, done, codes } = desk([], true)
    one.accept({ type: 'load-adapter', adapter: adapter(1, 'a') })
    one.accept({ type: 'unload-adapter', slot: 1 })
    one.accept({ type: 'load-adapter', adapter: adapter(9, 'b') })
    await settled()
    expect(done).toEqual(['load 1', 'unload 1', 'load 9'])
    expect(codes()).toEqual(['done', 'done', 'WORKER_INTERNAL'])
  })

  it('does not unload what a sequence needs, nor load where there is no graph of ours', async () => {
    const used = desk([2], true)
    used.one.accept({ type: 'unload-adapter', slot: 2 })
    const exported = desk([], false)
    exported.one.accept({ type: 'load-adapter', adapter: adapter(1, 'a') })
    await settled()
    expect([used.done, used.codes()]).toEqual([[], ['WORKER_ADAPTER_IN_USE']])
    expect(exported.codes()).toEqual(['WORKER_ADAPTERS_UNSUPPORTED'])
  })
})
