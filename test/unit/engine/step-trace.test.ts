import { describe, expect, it } from 'vitest'
import { makeSpec, makeTestEngine } from '../../support/engine-builders.ts'

interface Event {
  readonly name: string
  readonly ph: string
  readonly ts: number
  readonly dur?: number
  readonly tid: number
  readonly args: Record<string, unknown>
}

describe('a step trace', () => {
  it('shows who ran, with what, and why the next one waited', async () => {
    const { core, executor, clock } = makeTestEngine({ limits: { maxNumSeqs: 1 } })
    executor.duringExecute = () => {
      clock.ms += 4
    }
    core.add(makeSpec(7, { promptTokens: 3, maxTokens: 2 }))
    core.add(makeSpec(8, { promptTokens: 20, maxTokens: 1, promptLogprobs: null }))
    expect(core.endTrace()).toBe(null)
    core.startTrace()
    for (let step = 0; step < 3; step++) await core.step()
    const { traceEvents } = JSON.parse(core.endTrace() ?? '') as { traceEvents: Event[] }
    const slices = traceEvents
      .filter(({ ph }) => ph === 'X')
      .map(({ name, ts, dur, tid, args }) => [
        tid,
        name,
        ts,
        dur,
        args.next,
        args['next waits for'],
      ])
    expect(slices).toEqual([
      [7, 'prompt 3', 0, 4000, undefined, undefined],
      [0, '3 tokens, 1 sequences', 0, 4000, 8, 'a place'],
      [7, 'decode', 4000, 4000, undefined, undefined],
      [0, '1 tokens, 1 sequences', 4000, 4000, 8, 'a place'],
      [8, 'prompt 16', 8000, 4000, undefined, undefined],
      [0, '16 tokens, 1 sequences', 8000, 4000, null, null],
    ])
    const marks = traceEvents.filter(({ ph }) => ph === 'i').map(({ tid, name }) => [tid, name])
    expect(marks).toEqual([
      [7, 'admitted'],
      [8, 'admitted'],
    ])
    const names = traceEvents
      .filter(({ ph }) => ph === 'M')
      .map(({ tid, args }) => [tid, args.name])
    expect(names).toEqual([
      [0, 'steps'],
      [7, 'sequence 7'],
      [8, 'sequence 8'],
    ])
    expect(core.endTrace()).toBe(null)
  })
})
