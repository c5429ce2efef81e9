/** The supervisor over real child processes that misbehave; time moves by hand, nothing sleeps. */

import { existsSync, readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import type { SupervisorOptions } from '../../../src/worker/replica-supervisor.ts'
import { caught } from '../../support/caught.ts'
import { Listener, Supervised } from '../../support/supervised.ts'

const DIES = -1
const BLOCKS = -2
const NEVER_STEPS = -3
const CLOSES_CHANNEL = -4
const BREAKS = -5

const open: Supervised[] = []

async function started(options: Partial<SupervisorOptions> = {}): Promise<Supervised> {
  const supervised = make('fine', options)
  await supervised.supervisor.start()
  return supervised
}

function make(checkpointPath: string, options: Partial<SupervisorOptions> = {}): Supervised {
  const supervised = new Supervised({ checkpointPath }, options)
  open.push(supervised)
  return supervised
}

function notReady(supervised: Supervised) {
  try {
    supervised.submit(new Listener(), { promptIds: [1] })
  } catch (error) {
    return error
  }
  throw new Error('it was taken')
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

describe('a replica that runs', () => {
  it('switches its step trace, and refuses to while there is no engine', async () => {
    const { supervisor } = await started()
    const answers = await Promise.all([supervisor.trace('start'), supervisor.trace('stop')])
    expect(answers).toEqual([
      { isOn: true, file: null, reason: null },
      { isOn: false, file: '/t.json', reason: null },
    ])
    await expect(make('silent-at-start').supervisor.trace('start')).rejects.toMatchObject({
      code: 'WORKER_NOT_READY',
    })
  })

  it('that dies answers whoever waits for its trace', async () => {
    const supervised = await started()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [DIES] })
    // The sequence leaves with the next turn, and the engine dies of it before it reads further.
    await new Promise((resolve) => setImmediate(resolve))
    await expect(supervised.supervisor.trace('stop')).rejects.toMatchObject({
      code: 'WORKER_ENGINE_DIED',
    })
  })

  it('is ready with the description of the engine, and forwards progress and lines', async () => {
    const supervised = make('fine', { environment: { INGOT_A: '1' } })
    const description = await supervised.supervisor.start()
    // Its flags are those of an engine, and none of this process's.
    const ortVersion = '--optimize-for-size'
    expect(description).toMatchObject({ modelType: 'fake', kernels: 'INGOT_A', ortVersion })
    expect(supervised.progress).toEqual(['weights 0.5'])
    expect(supervised.supervisor.status()).toMatchObject({ state: 'ready', reason: null })
    expect(supervised.states).toEqual(['starting', 'ready'])
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [1], maxTokens: 1 })
    await listener.ended(1)
    expect(supervised.logs).toEqual(['fake engine is ready'])
  })

  it('streams each sequence to its own listener until its end', async () => {
    const supervised = await started()
    const [first, second] = [new Listener(), new Listener()]
    const a = supervised.submit(first, { promptIds: [10], maxTokens: 3 })
    const b = supervised.submit(second, { promptIds: [50], maxTokens: 5 })
    await Promise.all([first.ended(1), second.ended(1)])
    expect([first.tokens(a), first.tokens(b)]).toEqual([[10, 11, 12], []])
    expect(second.tokens(b)).toEqual([50, 51, 52, 53, 54])
  })

  it('sends all that is submitted and cancelled in one turn as one message', async () => {
    const supervised = await started()
    const listener = new Listener()
    const ids = Array.from({ length: 20 }, () =>
      supervised.submit(listener, { promptIds: [7], maxTokens: 1000 }),
    )
    supervised.supervisor.cancel(ids.slice(0, 19))
    await listener.ended(19)
    expect(listener.finishes()).toEqual(Array(19).fill('cancelled'))
    expect(supervised.supervisor.status().stats?.numSteps).toBe(1)
  })

  it('ignores cancels of sequences that have ended or never were', async () => {
    const supervised = await started()
    const listener = new Listener()
    const id = supervised.submit(listener, { promptIds: [1], maxTokens: 1 })
    await listener.ended(1)
    supervised.supervisor.cancel([id])
    const next = supervised.submit(listener, { promptIds: [5], maxTokens: 1 })
    await listener.ended(2)
    expect(listener.tokens(next)).toEqual([5])
  })

  it('takes prompts far larger than the channel holds', async () => {
    const supervised = await started()
    const listener = new Listener()
    const promptIds = Array.from({ length: 500_000 }, (_, index) => index % 90)
    for (let index = 0; index < 8; index++) supervised.submit(listener, { promptIds, maxTokens: 2 })
    await new Promise((resolve) => setImmediate(resolve))
    for (let index = 0; index < 8; index++)
      supervised.submit(listener, { promptIds: [1], maxTokens: 2 })
    await listener.ended(16)
    expect(listener.finishes()).toEqual(Array(16).fill('length'))
  })
})

describe('an engine that ends', () => {
  it.each([
    ['kill -9', DIES, 'killed by SIGKILL'],
    ['a broken invariant', BREAKS, 'exit code 70: invariant E2 is broken'],
  ])(
    'by %s loses its sequences with a retryable error and is started again',
    async (_, act, reason) => {
      const supervised = await started()
      const listener = new Listener()
      for (let index = 0; index < 16; index++) {
        supervised.submit(listener, { promptIds: [1], maxTokens: 1_000_000 })
      }
      await listener.until(() => listener.updates.length > 100)
      const restarting = supervised.state('restarting')
      supervised.submit(listener, { promptIds: [act] })
      await restarting
      expect(listener.lost).toHaveLength(17)
      for (const { error } of listener.lost) {
        expect(error).toMatchObject({
          code: 'WORKER_ENGINE_DIED',
          status: 503,
          retryable: true,
          retryAfterSeconds: 2,
        })
        expect(error.message).toContain(reason)
      }
      expect(notReady(supervised)).toMatchObject({
        code: 'WORKER_NOT_READY',
        status: 503,
        retryable: true,
        retryAfterSeconds: 2,
      })
      expect(supervised.supervisor.status()).toMatchObject({ pid: null, stats: null })

      const ready = supervised.state('ready')
      supervised.timer.advance(500)
      await ready
      const again = new Listener()
      const id = supervised.submit(again, { promptIds: [3], maxTokens: 2 })
      await again.ended(1)
      expect(again.tokens(id)).toEqual([3, 4])
      expect(supervised.supervisor.status()).toMatchObject({ state: 'ready', numRestarts: 1 })
      expect(listener.finishes()).toEqual([])
    },
  )

  it('by closing its channel is not waited for', async () => {
    const supervised = await started()
    const listener = new Listener()
    const restarting = supervised.state('restarting')
    supervised.submit(listener, { promptIds: [CLOSES_CHANNEL], maxTokens: 10 })
    await restarting
    expect(listener.lost).toHaveLength(1)
  })

  it('before it was ever ready is tried again until it is given up', async () => {
    const supervised = make('die-at-start')
    const ready = caught(supervised.supervisor.start())
    const delays: number[] = []
    for (let failure = 1; failure < 6; failure++) {
      await supervised.state('restarting')
      delays.push(500 * 2 ** (failure - 1))
      supervised.timer.advance(delays.at(-1)! - 1)
      expect(supervised.supervisor.status().pid).toBeNull()
      supervised.timer.advance(1)
      expect(supervised.supervisor.status().pid).not.toBeNull()
    }
    const error = await ready
    expect(error).toMatchObject({ code: 'WORKER_CRASH_LOOP', details: { numFailures: 6 } })
    expect(error.message).toContain('last words of a dying engine')
    expect(supervised.supervisor.status()).toMatchObject({ state: 'failed', pid: null })
    expect(notReady(supervised)).toMatchObject({ code: 'WORKER_GIVEN_UP', retryable: false })
    expect(supervised.timer.numWaiting).toBe(0)
  })

  it('because its files are wrong is not tried again', async () => {
    const supervised = make('refuse')
    const error = await caught(supervised.supervisor.start())
    expect(error).toMatchObject({ code: 'MODEL_BAD_METADATA', message: 'nothing fits' })
    expect(supervised.states).toEqual(['starting', 'failed'])
    expect(supervised.supervisor.status().reason).toBe('exit code 78: nothing fits')
  })

  it('starts a new row of failures after it was ready for long', async () => {
    const restart = { firstDelayMs: 100, maxDelayMs: 1000, maxFailures: 2, stableMs: 60_000 }
    const supervised = await started({ restart })
    for (let round = 0; round < 3; round++) {
      // Pings are answered, or the watchdog would take it for dead.
      for (let seconds = 0; seconds < 60; seconds += 2) {
        const answered = supervised.stats()
        supervised.timer.advance(2_000)
        await answered
      }
      const restarting = supervised.state('restarting')
      supervised.submit(new Listener(), { promptIds: [DIES] })
      await restarting
      const ready = supervised.state('ready')
      supervised.timer.advance(100)
      await ready
    }
    const failed = supervised.state('failed')
    supervised.submit(new Listener(), { promptIds: [DIES] })
    await failed
    expect(supervised.supervisor.status().numRestarts).toBe(3)
  })

  it('because its file does not exist is reported with what Node says', async () => {
    const restart = { firstDelayMs: 100, maxDelayMs: 1000, maxFailures: 1, stableMs: 60_000 }
    const supervised = make('fine', { entryPath: '/nowhere/engine.js', restart })
    const error = await caught(supervised.supervisor.start())
    expect(error.code).toBe('WORKER_CRASH_LOOP')
    expect(supervised.logs.join('\n')).toContain('/nowhere/engine.js')
  })
})

describe('an engine that hangs', () => {
  it('in its event loop is killed when it has not answered for 20 s', async () => {
    const supervised = await started()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [BLOCKS] })
    await new Promise((resolve) => setImmediate(resolve))
    const restarting = supervised.state('restarting')
    supervised.timer.advance(22_000)
    await restarting
    expect(listener.lost[0]?.error.message).toContain('it has not answered for 20 s')
  })

  it('in its event loop while its model blocks that is given as long as a step', async () => {
    const supervised = make('blocks-thread')
    await supervised.supervisor.start()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [BLOCKS] })
    await new Promise((resolve) => setImmediate(resolve))
    const restarting = supervised.state('restarting')
    for (let seconds = 2; seconds <= 298; seconds += 2) supervised.timer.advance(2_000)
    expect(supervised.states).toEqual(['starting', 'ready'])
    supervised.timer.advance(6_000)
    await restarting
    expect(listener.lost[0]?.error.message).toMatch(/for (?:298|30\d) s/)
  })

  it('in a kernel is killed when no step has ended for 300 s although it answers', async () => {
    const supervised = await started()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [NEVER_STEPS] })
    const restarting = supervised.state('restarting')
    for (let seconds = 2; seconds < 300; seconds += 2) {
      const answered = supervised.stats()
      supervised.timer.advance(2_000)
      await answered
    }
    supervised.timer.advance(2_000)
    await restarting
    expect(listener.lost[0]?.error.message).toContain('has ended no step for 300 s')
  })

  it('without work and answering is left alone for ever', async () => {
    const supervised = await started()
    for (let seconds = 0; seconds < 1000; seconds += 2) {
      const answered = supervised.stats()
      supervised.timer.advance(2_000)
      await answered
    }
    expect(supervised.states).toEqual(['starting', 'ready'])
  })

  it('while it loads is killed after 300 s without progress', async () => {
    const restart = { firstDelayMs: 100, maxDelayMs: 1000, maxFailures: 1, stableMs: 60_000 }
    const supervised = make('silent-at-start', { restart })
    const ready = caught(supervised.supervisor.start())
    supervised.timer.advance(300_000)
    expect((await ready).message).toContain('no progress in loading for 300 s')
  })
})

describe('stopping', () => {
  it('cancels what runs, ends the process and refuses the next', async () => {
    const supervised = await started()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [1], maxTokens: 1_000_000 })
    await listener.until(() => listener.updates.length > 10)
    const pid = supervised.supervisor.status().pid!
    await supervised.supervisor.stop()
    expect(listener.finishes()).toEqual(['cancelled'])
    expect(listener.lost).toEqual([])
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    expect(notReady(supervised)).toMatchObject({ code: 'WORKER_NOT_READY' })
    expect(supervised.timer.numWaiting).toBe(0)
    await supervised.supervisor.stop()
  })

  it('kills a process that does not end within 5 s', async () => {
    const supervised = make('deaf')
    await supervised.supervisor.start()
    const listener = new Listener()
    supervised.submit(listener, { promptIds: [NEVER_STEPS] })
    await new Promise((resolve) => setImmediate(resolve))
    supervised.supervisor.cancel([])
    const [first, second] = [supervised.supervisor.stop(), supervised.supervisor.stop()]
    await listener.ended(1)
    supervised.timer.advance(5_000)
    await Promise.all([first, second])
    expect(supervised.supervisor.status()).toMatchObject({ state: 'stopped', pid: null })
  })

  it('while a restart waits leaves nothing behind', async () => {
    const supervised = await started()
    const restarting = supervised.state('restarting')
    supervised.submit(new Listener(), { promptIds: [DIES] })
    await restarting
    await supervised.supervisor.stop()
    expect(supervised.timer.numWaiting).toBe(0)
    expect(supervised.supervisor.status()).toMatchObject({ state: 'stopped', pid: null })
  })

  it('while it loads rejects the start', async () => {
    const supervised = make('silent-at-start')
    const ready = caught(supervised.supervisor.start())
    const stopped = supervised.supervisor.stop()
    expect((await ready).code).toBe('WORKER_STOPPED')
    supervised.timer.advance(5_000)
    await stopped
  })
})

it.skipIf(!existsSync('/usr/bin/taskset'))(
  'an engine that is bound to CPUs is the process that is watched, and runs on no others',
  async () => {
    const launcher = ['/usr/bin/taskset', '-c', '0']
    const { supervisor } = new Supervised({}, { launcher })
    await supervisor.start()
    const { pid } = supervisor.status()
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    expect(/^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1]).toBe('0')
    await supervisor.stop()
  },
)
