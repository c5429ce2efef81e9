import { describe, expect, it } from 'vitest'
import {
  type BatchRequest,
  type BenchSystem,
  CannotMeasure,
} from '../../../benchmarks/bench-system.ts'
import { measureThroughput } from '../../../benchmarks/throughput.ts'
import { chooseTrials } from '../../../benchmarks/trials.ts'

/** Decodes and prefills at a fixed rate; remembers what it was asked. */
function system(name: string, tokensPerSecond: number) {
  const asked: BatchRequest[] = []
  const made: BenchSystem = {
    name,
    version: '1',
    weights: 'none',
    run: async (request) => {
      asked.push(request)
      const promptTokens = request.prompts.flat().length
      const lateTokens = request.late?.flat().length ?? 0
      const decodeTokens = request.prompts.length * (request.outputTokens - 1)
      const decodeSeconds = (decodeTokens + lateTokens) / tokensPerSecond
      return { prefillSeconds: promptTokens / tokensPerSecond, decodeSeconds, decodeTokens }
    },
    close: async () => {},
  }
  return { ...made, asked }
}

const BASE = { rounds: 3, vocabSize: 1000, onProgress: () => {} }

describe('measureThroughput', () => {
  it('gives every system the same prompts, new ones each round', async () => {
    const [a, b] = [system('a', 10), system('b', 10)]
    await measureThroughput({ ...BASE, trials: chooseTrials('decode-4'), systems: [a, b] })
    expect(a.asked).toEqual(b.asked)
    expect(a.asked.length).toBe(4)
    expect(a.asked[0]?.prompts[0]).not.toEqual(a.asked[1]?.prompts[0])
  })

  it('counts each figure over its own tokens', async () => {
    const trials = chooseTrials('decode-4,prefill-512,mixed-16+1024')
    const { results } = await measureThroughput({ ...BASE, trials, systems: [system('a', 10)] })
    const medians = results.map(({ trial, tokensPerSecond }) => [
      trial,
      Math.round(tokensPerSecond.median),
    ])
    expect(medians).toEqual([
      ['decode-4', 10],
      ['prefill-512', 10],
      ['mixed-16+1024', 10],
    ])
  })

  it('asks a peer that is far behind another once, and the first system always', async () => {
    const [own, best, slow] = [system('own', 1), system('best', 10), system('slow', 4)]
    const trials = chooseTrials('decode-1')
    const { results } = await measureThroughput({ ...BASE, trials, systems: [own, best, slow] })
    expect(results.map(({ system, rounds }) => [system, rounds])).toEqual([
      ['own', 3],
      ['best', 3],
      ['slow', 1],
    ])
  })

  it('measures long trials in two rounds without a warm-up', async () => {
    const own = system('own', 10)
    await measureThroughput({ ...BASE, trials: chooseTrials('prefill-4096'), systems: [own] })
    expect(own.asked.length).toBe(2)
  })

  it('leaves out and names what a system cannot do, and passes other errors on', async () => {
    const unable = system('unable', 1)
    unable.run = () => Promise.reject(new CannotMeasure('no such shape'))
    const trials = chooseTrials('decode-1')
    const systems = [system('own', 1), unable]
    const { results, skipped } = await measureThroughput({ ...BASE, trials, systems })
    expect(results.map((result) => result.system)).toEqual(['own'])
    expect(skipped).toEqual(['unable at decode-1: no such shape'])
    unable.run = () => Promise.reject(new Error('died'))
    await expect(measureThroughput({ ...BASE, trials, systems })).rejects.toThrow('died')
  })
})
