import { describe, expect, it } from 'vitest'
import { chooseReplica } from '../../../../src/deployment/endpoints/choose-replica.ts'
import { routingKey } from '../../../../src/deployment/endpoints/routing-key.ts'

function idle(...indexes: number[]) {
  return indexes.map((index) => ({ index, numSequences: 0 }))
}

const KEYS = Array.from({ length: 1000 }, (_, key) => `key ${key}`)

describe('chooseReplica', () => {
  it('sends equal keys to one replica, and spreads different ones', () => {
    const counts = [0, 0, 0, 0]
    for (const key of KEYS) {
      const { index } = chooseReplica(idle(0, 1, 2, 3), 1, () => key)
      expect(chooseReplica(idle(3, 1, 0, 2), 1, () => key).index).toBe(index)
      counts[index] = (counts[index] ?? 0) + 1
    }
    for (const count of counts) expect(count).toBeGreaterThan(180)
  })

  it('moves only the keys of the replica that goes', () => {
    for (const key of KEYS) {
      const before = chooseReplica(idle(0, 1, 2, 3), 1, () => key).index
      const after = chooseReplica(idle(0, 1, 3), 1, () => key).index
      if (before !== 2) expect(after).toBe(before)
    }
  })

  it('lets no replica have more than its share of the load, however hot one key is', () => {
    const replicas = idle(0, 1, 2).map((replica) => ({ ...replica }))
    for (let request = 0; request < 300; request += 1) {
      const chosen = chooseReplica(replicas, 1, () => 'hot')
      chosen.numSequences += 1
      const mean = replicas.reduce((sum, { numSequences }) => sum + numSequences, 0) / 3
      expect(chosen.numSequences).toBeLessThanOrEqual(Math.ceil(1.25 * mean))
    }
    expect(replicas.map(({ numSequences }) => numSequences).sort((a, b) => a - b)).toEqual([
      50, 125, 125,
    ])
  })

  it('takes a request of many choices where the fewest run', () => {
    const replicas = [
      { index: 0, numSequences: 9 },
      { index: 1, numSequences: 1 },
    ]
    expect(chooseReplica(replicas, 8, () => 'k').index).toBe(1)
  })

  it('asks for no key where there is no choice', () => {
    const never = (): string => {
      throw new Error('asked')
    }
    expect(chooseReplica(idle(5), 3, never).index).toBe(5)
  })
})

describe('routingKey', () => {
  const prompt = (change: object) => [
    {
      promptIds: Int32Array.from({ length: 100 }, (_, at) => at),
      cacheDomain: Int32Array.of(1, 2, 3, 4),
      ...change,
    },
  ]

  it('is the caller’s own key, else the beginning of the prompt in its domain', () => {
    expect(routingKey(prompt({ cacheKey: 'a' }))).toBe(
      routingKey(prompt({ cacheKey: 'a', promptIds: Int32Array.of(7) })),
    )
    const longer = Int32Array.from({ length: 200 }, (_, at) => at)
    expect(routingKey(prompt({}))).toBe(routingKey(prompt({ promptIds: longer })))
    expect(routingKey(prompt({}))).not.toBe(routingKey(prompt({ promptIds: Int32Array.of(0, 2) })))
    expect(routingKey(prompt({}))).not.toBe(
      routingKey(prompt({ cacheDomain: Int32Array.of(1, 2, 3, 5) })),
    )
  })
})
