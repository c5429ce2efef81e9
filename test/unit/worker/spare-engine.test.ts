/** A process that was started before it is known what it will load, and the supervisor that it becomes the engine of. */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import { forkEngine, SpareEngine } from '../../../src/worker/fork-engine.ts'
import { FAKE_ENGINE, Listener, Supervised } from '../../support/supervised.ts'

const PROGRAM = { entryPath: FAKE_ENGINE, environment: {} }
const DIES = -1

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

function spare(entryPath = FAKE_ENGINE): SpareEngine {
  const made = new SpareEngine(entryPath)
  closers.push(() => made.close())
  return made
}

function taken(made: SpareEngine): ChildProcess {
  const child = made.take(PROGRAM)
  if (child === null) throw new Error('it was not given out')
  closers.push(() => child.kill('SIGKILL'))
  return child
}

it('is given out once, and only for the program that it runs', () => {
  const made = spare()
  expect(made.take({ ...PROGRAM, entryPath: `${FAKE_ENGINE}.other` })).toBeNull()
  expect(made.take({ ...PROGRAM, launcher: ['taskset', '-c', '0'] })).toBeNull()
  expect(made.take({ ...PROGRAM, environment: { NAME: 'value' } })).toBeNull()
  expect(taken(made).pid).toBeGreaterThan(0)
  expect(made.take(PROGRAM)).toBeNull()
})

it('that is gone does not keep a supervisor from starting one', async () => {
  const made = spare()
  const supervised = new Supervised({}, { spare: made })
  closers.push(() => supervised.supervisor.stop())
  // The one way to its pid is to be given it.
  const child = taken(made)
  child.kill('SIGKILL')
  await once(child, 'exit')
  await supervised.supervisor.start()
  expect(supervised.supervisor.status().state).toBe('ready')
})

it('that was closed is not given out', () => {
  const made = spare()
  made.close()
  expect(made.take(PROGRAM)).toBeNull()
})

it('becomes the first engine of a supervisor; the next one is a process of its own', async () => {
  const made = spare()
  const supervised = new Supervised({}, { spare: made })
  closers.push(() => supervised.supervisor.stop())
  await supervised.supervisor.start()
  expect(made.take(PROGRAM)).toBeNull()
  const first = supervised.supervisor.status().pid
  const listener = new Listener()
  supervised.submit(listener, { promptIds: [1, 2], maxTokens: 3 })
  await listener.ended(1)
  expect(listener.lost).toEqual([])
  const restarting = supervised.state('restarting')
  supervised.submit(new Listener(), { promptIds: [DIES] })
  await restarting
  const ready = supervised.state('ready')
  supervised.timer.advance(10_000)
  await ready
  expect(supervised.supervisor.status().pid).not.toBe(first)
})

it.each([[[]], [['env']]])('an engine keeps its heap small, started by %j', async (launcher) => {
  const child = forkEngine({ ...PROGRAM, launcher })
  closers.push(() => child.kill('SIGKILL'))
  expect(child.spawnargs).toContain('--optimize-for-size')
})
