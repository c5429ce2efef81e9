/** Seeded damage to JSON values: other types, missing and strange members, at any depth. */

import type { SeededRandom } from './seeded-random.ts'

const STRANGE: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 31,
  2 ** 53,
  '',
  '<s>',
  'a',
  '(a|aa)+$',
  '\\p{L}{1000}',
  [],
  {},
  ['a', 'b'],
  [['a', 'b']],
  { type: 'ByteLevel' },
  { type: 'BPE', vocab: {}, merges: [] },
  { type: 'Sequence', decoders: [] },
]

/** A copy with one to three members changed. */
export function mutateJson(original: unknown, random: SeededRandom): unknown {
  let value = original
  for (let edit = 0; edit <= random.below(3); edit += 1) value = mutateOnce(value, random)
  return value
}

function mutateOnce(value: unknown, random: SeededRandom): unknown {
  if (typeof value !== 'object' || value === null || random.below(12) === 0) {
    return STRANGE[random.below(STRANGE.length)]
  }
  if (Array.isArray(value)) {
    if (value.length === 0) return [STRANGE[random.below(STRANGE.length)]]
    const at = random.below(value.length)
    return value.map((item, index) => (index === at ? mutateOnce(item, random) : item))
  }
  const entries = Object.entries(value)
  if (entries.length === 0) return { a: STRANGE[random.below(STRANGE.length)] }
  const at = random.below(entries.length)
  const isDropped = random.below(6) === 0
  return Object.fromEntries(
    entries.flatMap(([key, item], index) => {
      if (index !== at) return [[key, item]]
      return isDropped ? [] : [[key, mutateOnce(item, random)]]
    }),
  )
}
