import { describe, expect, it } from 'vitest'
import { InvariantError } from '../../../src/base/errors.ts'
import type { SequenceId } from '../../../src/base/ids.ts'
import { EngineLoop } from '../../../src/worker/engine-loop.ts'
import type { FromEngine } from '../../../src/worker/messages.ts'
import { makeSpec, makeTestEngine } from '../../support/engine-builders.ts'

type Step = Extract<FromEngine, { type: 'step' }>

/** The loop over a real engine with a fake executor; what it sends is kept, or held back when the channel is full. */
function makeLoop() {
  const engine = makeTestEngine({ maxContextTokens: 32 })
  const sent: FromEngine[] = []
  const channel: { isFull: boolean; drain: () => void } = { isFull: false, drain: () => {} }
  const loop = new EngineLoop(engine.core, {
    send: (message) => {
      sent.push(message)
      if (!channel.isFull) return Promise.resolve()
      return new Promise((resolve) => {
        channel.drain = () => {
          channel.isFull = false
          resolve()
        }
      })
    },
    rssBytes: () => 123,
  })
  const steps = () => sent.filter((message): message is Step => message.type === 'step')
  const updates = () => steps().flatMap((step) => step.updates)
  return { ...engine, loop, sent, steps, updates, channel }
}

/** Everything that is ready to run has run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

describe('EngineLoop', () => {
  it('sends one message a step until all is done, then ends when told to stop', async () => {
    const { loop, steps, updates } = makeLoop()
    const ended = loop.run()
    loop.accept({ type: 'work', add: [makeSpec(1, { maxTokens: 3 })], cancel: [] })
    await settled()
    expect(steps()).toHaveLength(3)
    expect(updates().at(-1)).toMatchObject({ id: 1, finish: 'length' })
    loop.accept({ type: 'stop' })
    await ended
  })

  it('finishes what is inside when told to stop in the middle', async () => {
    const { loop, updates, channel } = makeLoop()
    channel.isFull = true
    const ended = loop.run()
    loop.accept({ type: 'work', add: [makeSpec(1, { maxTokens: 4 })], cancel: [] })
    await settled()
    loop.accept({ type: 'stop' })
    channel.drain()
    await ended
    expect(updates().at(-1)).toMatchObject({ finish: 'length' })
  })

  it('does not step while the channel is full', async () => {
    const { loop, steps, executor, channel } = makeLoop()
    channel.isFull = true
    void loop.run()
    loop.accept({ type: 'work', add: [makeSpec(1, { maxTokens: 8 })], cancel: [] })
    await settled()
    await settled()
    expect(steps()).toHaveLength(1)
    channel.drain()
    await settled()
    expect(steps()).toHaveLength(8)
    expect(executor).toBeDefined()
  })

  it('tells a refused sequence its error as its last update, and goes on with the others', async () => {
    const { loop, updates } = makeLoop()
    void loop.run()
    const add = [makeSpec(1, { promptTokens: 40 }), makeSpec(2, { maxTokens: 1 })]
    loop.accept({ type: 'work', add, cancel: [] })
    await settled()
    expect(updates()).toMatchObject([
      { id: 1, finish: 'error', error: { code: 'ENGINE_CONTEXT_TOO_LONG', status: 400 } },
      { id: 2, finish: 'length', error: null },
    ])
  })

  it('tells a refusal also when nothing else runs', async () => {
    const { loop, updates } = makeLoop()
    void loop.run()
    loop.accept({ type: 'work', add: [makeSpec(1, { promptTokens: 40 })], cancel: [] })
    await settled()
    expect(updates()).toHaveLength(1)
  })

  it('cancels what came in the same message', async () => {
    const { loop, updates } = makeLoop()
    void loop.run()
    const id = 1 as SequenceId
    loop.accept({ type: 'work', add: [makeSpec(1)], cancel: [id] })
    await settled()
    expect(updates()).toMatchObject([{ id, finish: 'cancelled', tokenIds: [] }])
  })

  it('answers a ping at once, also while a step waits for the channel', async () => {
    const { loop, sent, channel } = makeLoop()
    channel.isFull = true
    void loop.run()
    loop.accept({ type: 'work', add: [makeSpec(1)], cancel: [] })
    await settled()
    loop.accept({ type: 'ping', nonce: 7 })
    expect(sent.at(-1)).toMatchObject({ type: 'pong', nonce: 7, stats: { rssBytes: 123 } })
  })

  it('ends with the invariant that broke', async () => {
    const { loop } = makeLoop()
    const spec = makeSpec(1)
    loop.accept({ type: 'work', add: [spec], cancel: [] })
    expect(() => loop.accept({ type: 'work', add: [spec], cancel: [] })).toThrow(InvariantError)
  })

  it('checks the integrity of the engine whenever it becomes idle', async () => {
    const { loop, core } = makeLoop()
    const broken = new InvariantError('S3', 'a block is lost')
    core.checkIntegrity = () => {
      throw broken
    }
    await expect(loop.run()).rejects.toBe(broken)
  })
})
