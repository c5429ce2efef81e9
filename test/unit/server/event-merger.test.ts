import { describe, expect, it } from 'vitest'
import type { GenerationEvent } from '../../../src/deployment/generation.ts'
import { closeAll, mergeEvents, type PromptEvent } from '../../../src/server/event-merger.ts'

const delta = (text: string): GenerationEvent => ({
  type: 'delta',
  choice: 0,
  text,
  tokenIds: [1],
  logprobs: null,
})

/** A source that a test feeds by hand and that counts what is asked of it. */
class Source implements AsyncIterator<GenerationEvent> {
  numPulls = 0
  isClosed = false
  #waiting: ((result: IteratorResult<GenerationEvent>) => void)[] = []
  #reject: ((error: Error) => void)[] = []

  next(): Promise<IteratorResult<GenerationEvent>> {
    this.numPulls += 1
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve)
      this.#reject.push(reject)
    })
  }

  give(text: string): void {
    this.#waiting.shift()?.({ done: false, value: delta(text) })
  }

  end(): void {
    this.#waiting.shift()?.({ done: true, value: undefined })
  }

  fail(error: Error): void {
    this.#reject.at(-1)?.(error)
  }

  async return(): Promise<IteratorResult<GenerationEvent>> {
    this.isClosed = true
    return { done: true, value: undefined }
  }
}

function setUp(numSources: number) {
  const sources = Array.from({ length: numSources }, () => new Source())
  const controller = new AbortController()
  return { sources, controller, merged: mergeEvents(sources, controller.signal) }
}

const text = ({ prompt, event }: PromptEvent) =>
  `${prompt}${event.type === 'delta' ? event.text : ''}`

describe('merged events', () => {
  it('come in the order in which they happen, each with its prompt', async () => {
    const { sources, merged } = setUp(2)
    const seen: string[] = []
    const reading = (async () => {
      for await (const item of merged) seen.push(text(item))
    })()
    await expect.poll(() => sources[1]?.numPulls).toBe(1)
    sources[1]?.give('a')
    await expect.poll(() => seen).toEqual(['1a'])
    sources[0]?.give('b')
    await expect.poll(() => seen).toEqual(['1a', '0b'])
    sources[0]?.end()
    sources[1]?.give('c')
    await expect.poll(() => seen).toEqual(['1a', '0b', '1c'])
    sources[1]?.end()
    await reading
  })

  it('are pulled only when the last one was taken', async () => {
    const { sources, merged } = setUp(1)
    const first = merged.next()
    sources[0]?.give('a')
    await first
    await new Promise((resolve) => setImmediate(resolve))
    expect(sources[0]?.numPulls).toBe(1)
    void merged.next()
    await expect.poll(() => sources[0]?.numPulls).toBe(2)
  })

  it('end at once on an abort, although no source answers, and close the sources', async () => {
    const { sources, controller, merged } = setUp(3)
    const next = merged.next()
    const reason = new Error('gone')
    controller.abort(reason)
    await expect(next).rejects.toBe(reason)
    expect(sources.map(({ isClosed }) => isClosed)).toEqual([true, true, true])
  })

  it('throw what a source throws, and close the others', async () => {
    const { sources, merged } = setUp(2)
    const next = merged.next()
    const error = new Error('broken')
    sources[0]?.fail(error)
    await expect(next).rejects.toBe(error)
    expect(sources[1]?.isClosed).toBe(true)
  })

  it('close their sources when the reader leaves', async () => {
    const { sources, merged } = setUp(2)
    const next = merged.next()
    sources[0]?.give('a')
    await next
    await merged.return()
    expect(sources.map(({ isClosed }) => isClosed)).toEqual([true, true])
  })
})

it('a source that fails to close harms nobody', async () => {
  const source = {
    next: () => Promise.reject(new Error()),
    return: () => Promise.reject(new Error('late')),
  }
  closeAll([source])
  await new Promise((resolve) => setImmediate(resolve))
})
