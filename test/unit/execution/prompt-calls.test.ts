import { describe, expect, it } from 'vitest'
import { callAt, type PromptCalls } from '../../../src/execution/exported/prompt-calls.ts'

const calls = (numTokens: number, numPromptTokens: number, kind: PromptCalls): string[] => {
  const runs: string[] = []
  for (let position = 0; position < numTokens; ) {
    const { start, end } = callAt(position, numPromptTokens, kind)
    expect(start).toBe(position)
    runs.push(`${start}-${end}`)
    position = end
  }
  return runs
}

describe('the run that computes a row', () => {
  it('cuts a prompt at absolute boundaries, and then takes one row a time', () => {
    const kind = { kind: 'segments', maxTokens: 4 } as const
    expect(calls(12, 10, kind)).toEqual(['0-4', '4-8', '8-10', '10-11', '11-12'])
    expect(calls(6, 4, kind)).toEqual(['0-4', '4-5', '5-6'])
    expect(calls(2, 1, kind)).toEqual(['0-1', '1-2'])
  })

  it('takes a prompt together as far as one run goes, and then one row a time', () => {
    const kind = { kind: 'together', maxTokens: 4 } as const
    expect(calls(5, 3, kind)).toEqual(['0-3', '3-4', '4-5'])
    expect(calls(7, 6, kind)).toEqual(['0-4', '4-5', '5-6', '6-7'])
  })

  it('takes one row a time where the graph has one', () => {
    expect(calls(3, 2, { kind: 'single', maxTokens: 1 })).toEqual(['0-1', '1-2', '2-3'])
  })

  it.each(['segments', 'together', 'single'] as const)(
    'is the same from any position in it (%s)',
    (kind) => {
      const rule = { kind, maxTokens: kind === 'single' ? 1 : 5 }
      for (let numPromptTokens = 1; numPromptTokens < 24; numPromptTokens++) {
        for (let position = 0; position < 30; position++) {
          const call = callAt(position, numPromptTokens, rule)
          expect(call.start).toBeLessThanOrEqual(position)
          expect(call.end).toBeGreaterThan(position)
          for (let inside = call.start; inside < call.end; inside++) {
            expect(callAt(inside, numPromptTokens, rule)).toEqual(call)
          }
        }
      }
    },
  )
})
