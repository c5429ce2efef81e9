/** Arrivals as data, seeded: who comes when with what. Nothing here runs. */

import type { ServiceTier } from '../src/engine/service-tier.ts'
import { seededRandom } from './statistics.ts'

export interface Arrival {
  readonly atMs: number
  readonly promptIds: Int32Array
  readonly maxTokens: number
  readonly tier: ServiceTier
  readonly tenant: string
  readonly maxQueueMs: number | null
}

export interface TraceShape {
  readonly numSequences: number
  /** Arrivals a second, on average. */
  readonly rate: number
  readonly vocabSize: number
  readonly seed: number
}

export type TraceName =
  | 'poisson'
  | 'bursts'
  | 'shared-prefix'
  | 'multi-turn'
  | 'long-context'
  | 'tenants'

export const TRACES: Readonly<Record<TraceName, (shape: TraceShape) => Arrival[]>> = {
  /** Prompts of 16 to 512 tokens, answers of 8 to 128. */
  poisson: (shape) => make(shape, 'poisson', (at, tools) => plain(at, tools)),
  /** The same load in bursts of 32. */
  bursts: (shape) => make(shape, 'bursts', (at, tools) => plain(at, tools)),
  /** One of eight system prompts of 1,024 tokens, then 16 to 64 of its own. */
  'shared-prefix': (shape) =>
    make(shape, 'poisson', (at, tools) => {
      const prefix = noise(1024, tools.below(8), tools.vocabSize)
      return plain(at, tools, joined(prefix, tools.ids(16 + tools.below(48))))
    }),
  /** Conversations of four turns: each prompt is the whole of the one before and 64 tokens more. */
  'multi-turn': (shape) =>
    make(shape, 'poisson', (at, tools, index) => {
      const turns = Array.from({ length: 1 + (index % 4) }, (_, turn) =>
        noise(128 + 64 * turn, 1000 + 8 * (index >> 2) + turn, tools.vocabSize),
      )
      return plain(at, tools, joined(...turns))
    }),
  /** One prompt in twenty has 4,000 tokens. */
  'long-context': (shape) =>
    make(shape, 'poisson', (at, tools, index) =>
      plain(at, tools, index % 20 === 19 ? tools.ids(4000) : tools.ids(16 + tools.below(240))),
    ),
  /** A tenant that sends nine in ten, and nine that share the rest; one in ten is flex, one in ten priority. */
  tenants: (shape) =>
    make(shape, 'poisson', (at, tools, index) => ({
      ...plain(at, tools),
      tenant: index % 10 === 0 ? `small ${tools.below(9)}` : 'large',
      tier: (['priority', 'flex'] as const)[tools.below(10)] ?? 'default',
    })),
}

interface Tools {
  readonly vocabSize: number
  below(limit: number): number
  ids(count: number): Int32Array
}

function plain(atMs: number, tools: Tools, promptIds?: Int32Array): Arrival {
  const prompt = promptIds ?? tools.ids(16 + tools.below(496))
  const common = { tier: 'default', tenant: 'local', maxQueueMs: null } as const
  return { atMs, promptIds: prompt, maxTokens: 8 + tools.below(120), ...common }
}

function make(
  { numSequences, rate, vocabSize, seed }: TraceShape,
  pattern: 'poisson' | 'bursts',
  arrivalOf: (atMs: number, tools: Tools, index: number) => Arrival,
): Arrival[] {
  const random = seededRandom(seed)
  const below = (limit: number): number => Math.floor(random() * limit)
  const ids = (count: number): Int32Array =>
    Int32Array.from({ length: count }, () => below(vocabSize))
  const burst = pattern === 'bursts' ? 32 : 1
  let atMs = 0
  return Array.from({ length: numSequences }, (_, index) => {
    if (index % burst === 0) atMs += (-Math.log(1 - random()) * 1000 * burst) / rate
    return arrivalOf(atMs, { vocabSize, below, ids }, index)
  })
}

function noise(count: number, seed: number, vocabSize: number): Int32Array {
  const random = seededRandom(seed)
  return Int32Array.from({ length: count }, () => Math.floor(random() * vocabSize))
}

function joined(...parts: readonly Int32Array[]): Int32Array {
  return Int32Array.from(parts.flatMap((part) => [...part]))
}
