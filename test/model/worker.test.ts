/** A replica's process with the real model: the same answers as in this process, kill -9, stop, and a parent that dies. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PLAIN_SCHEDULING } from '../../src/engine/scheduling-options.ts'
import type { EngineOptions } from '../../src/worker/messages.ts'
import { ReplicaSupervisor, type SupervisorState } from '../../src/worker/replica-supervisor.ts'
import { makeSpec } from '../support/engine-builders.ts'
import { modelPath } from '../support/model-path.ts'
import { runSequences, withEngine } from '../support/run-engine.ts'
import { Listener } from '../support/supervised.ts'

const ENTRY = fileURLToPath(new URL('../../dist/src/worker/engine-process.js', import.meta.url))
const PARENT = fileURLToPath(new URL('../fixtures/dying-parent.mjs', import.meta.url))
/** "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n" without the words; any ids would do. */
const PROMPT = [1, 4093, 198, 15583, 2, 198, 1, 520, 9531, 198]
const NUM_STREAMS = 16

let engine: EngineOptions
let nextId = 1

function specs(numSeqs: number, maxTokens: number) {
  return Array.from({ length: numSeqs }, (_, index) =>
    makeSpec(nextId++, {
      promptIds: [...PROMPT, 1000 + index],
      temperature: 0.8,
      seed: BigInt(index),
      maxTokens,
      ignoreEos: true,
    }),
  )
}

beforeAll(async () => {
  engine = {
    checkpointPath: await modelPath(),
    threads: 2,
    activations: 'int8',
    kvDtype: 'f32',
    kvMemoryBytes: 256 * 2 ** 20,
    blockSize: 32,
    maxNumBatchedTokens: 512,
    maxNumSeqs: 32,
    maxContextTokens: 2048,
    eosTokenIds: [2],
    scheduling: PLAIN_SCHEDULING,
  }
})

describe('a replica with the real model', () => {
  let supervisor: ReplicaSupervisor
  const logs: string[] = []
  let onState: (state: SupervisorState) => void = () => {}

  beforeAll(async () => {
    supervisor = new ReplicaSupervisor({
      entryPath: ENTRY,
      engine,
      onLog: (line) => logs.push(line),
      onStateChange: ({ state }) => onState(state),
    })
    const description = await supervisor.start()
    expect(description).toMatchObject({ modelType: 'llama', vocabSize: 49_152, blockSize: 32 })
    console.log(`loaded in ${Math.round(description.loadMs)} ms on ${description.kernels}`)
  })
  afterAll(() => supervisor.stop())

  it('answers 16 streams as the engine does in this process', async () => {
    const inside = specs(NUM_STREAMS, 12)
    const expected = await withEngine(engine, (loaded) => runSequences(loaded, inside))
    const listener = new Listener()
    supervisor.submit(inside, listener)
    await listener.ended(NUM_STREAMS)
    for (const { id } of inside) {
      expect(listener.tokens(id)).toEqual(expected.answers.get(id)?.tokenIds)
    }
  })

  it('loses 16 streams to kill -9 with a retryable error each, and answers again after', async () => {
    const listener = new Listener()
    supervisor.submit(specs(NUM_STREAMS, 1500), listener)
    await listener.until(() => listener.updates.length > 64)
    const ready = new Promise<void>((resolve) => {
      onState = (state) => {
        if (state === 'ready') resolve()
      }
    })
    const killedMs = performance.now()
    process.kill(supervisor.status().pid!, 'SIGKILL')
    await listener.ended(NUM_STREAMS)
    console.log(`${NUM_STREAMS} streams told after ${Math.round(performance.now() - killedMs)} ms`)
    expect(listener.finishes()).toEqual([])
    for (const { error } of listener.lost) {
      expect(error).toMatchObject({ code: 'WORKER_ENGINE_DIED', status: 503, retryable: true })
      expect(error.retryAfterSeconds).toBeGreaterThanOrEqual(1)
    }
    expect(supervisor.status().state).toBe('restarting')
    await ready
    console.log(`ready again after ${Math.round(performance.now() - killedMs)} ms`)
    const again = new Listener()
    supervisor.submit(specs(1, 4), again)
    await again.ended(1)
    expect(again.finishes()).toEqual(['length'])
    const { stats } = supervisor.status()
    expect(stats?.numFreeBlocks).toBe(stats?.numBlocks)
  })

  it('frees all blocks of cancelled streams', async () => {
    const listener = new Listener()
    const many = specs(NUM_STREAMS, 1500)
    supervisor.submit(many, listener)
    await listener.until(() => listener.updates.length > 32)
    supervisor.cancel(many.map(({ id }) => id))
    await listener.ended(NUM_STREAMS)
    expect(listener.finishes()).toEqual(Array(NUM_STREAMS).fill('cancelled'))
    const { stats } = supervisor.status()
    expect(stats?.numFreeBlocks).toBe(stats?.numBlocks)
    console.log(`engine process: ${Math.round((stats?.rssBytes ?? 0) / 2 ** 20)} MiB resident`)
  })

  it('refuses one bad sequence and runs the others', async () => {
    const listener = new Listener()
    const bad = makeSpec(nextId++, { promptIds: [49_152], maxTokens: 2 })
    supervisor.submit([bad, ...specs(1, 2)], listener)
    await listener.ended(2)
    expect(listener.updates.find(({ id }) => id === bad.id)?.error).toMatchObject({
      code: 'ENGINE_TOKEN_OUT_OF_RANGE',
      status: 400,
    })
    expect(listener.finishes().sort()).toEqual(['error', 'length'])
  })

  it('ends with a broken invariant, tells it, and is started again', async () => {
    const ready = new Promise<void>((resolve) => {
      onState = (state) => {
        if (state === 'ready') resolve()
      }
    })
    const listener = new Listener()
    const [spec] = specs(1, 100)
    supervisor.submit([spec!, spec!], listener)
    await listener.ended(1)
    expect(listener.lost[0]?.error.message).toContain('exit code 70')
    expect(listener.lost[0]?.error.message).toContain('invariant E1 is broken')
    expect(logs.join('\n')).toContain('InvariantError')
    await ready
  })

  it('ignores the signals that a terminal sends to the whole group', async () => {
    const { pid } = supervisor.status()
    process.kill(pid!, 'SIGINT')
    process.kill(pid!, 'SIGTERM')
    const listener = new Listener()
    supervisor.submit(specs(1, 8), listener)
    await listener.ended(1)
    expect(listener.finishes()).toEqual(['length'])
    expect(supervisor.status().pid).toBe(pid)
  })

  it('stops within a second and leaves no process', async () => {
    const { pid } = supervisor.status()
    const listener = new Listener()
    supervisor.submit(specs(4, 1500), listener)
    await listener.until(() => listener.updates.length > 8)
    const startMs = performance.now()
    await supervisor.stop()
    expect(performance.now() - startMs).toBeLessThan(1000)
    expect(listener.finishes()).toEqual(Array(4).fill('cancelled'))
    expect(() => process.kill(pid!, 0)).toThrow('ESRCH')
  })
})

it('a checkpoint that cannot be loaded is reported with the reason, once', async () => {
  const states: SupervisorState[] = []
  const supervisor = new ReplicaSupervisor({
    entryPath: ENTRY,
    engine: { ...engine, checkpointPath: '/nowhere/model.gguf' },
    onStateChange: ({ state }) => states.push(state),
  })
  await expect(supervisor.start()).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' })
  expect(states).toEqual(['starting', 'failed'])
  await supervisor.stop()
})

it('the engine process ends when its parent is killed', async () => {
  const parent = fork(PARENT, [ENTRY, JSON.stringify(engine)], { execArgv: [] })
  const [pid] = (await once(parent, 'message')) as [number]
  expect(process.kill(pid, 0)).toBe(true)
  parent.kill('SIGKILL')
  await expect.poll(() => isAlive(pid), { timeout: 10_000, interval: 20 }).toBe(false)
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // ESRCH: it is gone
  }
}
