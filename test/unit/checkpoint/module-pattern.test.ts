import { expect, it } from 'vitest'
import { modulePattern } from '../../../src/checkpoint/quantized/module-pattern.ts'
import { seededRandom } from '../../support/seeded-random.ts'

const NAMES = [
  'lm_head',
  'model.layers.0.mlp.down_proj',
  'model.layers.17.self_attn.q_proj',
  'model.layers.3.block_sparse_moe.experts.11.w2',
  'model.embed_tokens',
  '',
]

/** As JavaScript's own expressions match, from the start of the name. */
function matchedByRegExp(pattern: string): readonly string[] {
  return NAMES.filter((name) => new RegExp(`^(?:${pattern})`).test(name))
}

it.each([
  '.*lm_head',
  'lm_head',
  'model\\.layers\\.\\d+\\.mlp\\..*',
  '.*(self_attn|mlp)\\.(q|down)_proj$',
  '^model\\.layers\\.(0|1?7)\\.',
  '.*experts\\.[0-9]{1,2}\\.w[13]$',
  '.*experts\\.[0-9]{1,2}\\.w[^13]$',
  '(?:model\\.)?embed_tokens',
  'model\\.layers\\.[1-3]+\\.\\w+\\.',
  '(a*)*$',
  '[\\w.]+',
  'm{0}lm_head',
  'model\\.l.{3,}s\\.17',
  'x|',
  '\\D*\\d{2}\\.',
])('matches as a regular expression does: %s', (pattern) => {
  const matches = modulePattern(pattern)!
  expect(NAMES.filter(matches)).toEqual(matchedByRegExp(pattern))
})

it.each([
  '(',
  ')',
  'a)',
  '[',
  '[]',
  '*a',
  'a**',
  'a{2,1}',
  'a{999}',
  '(?!mlp).*',
  '(?<name>a)',
  '\\1',
  '\\bq_proj',
  'a\\',
  '(?:a{64}){64}b{64}',
  'a'.repeat(513),
])('understands nothing beyond plain expressions: %s', (pattern) => {
  expect(modulePattern(pattern)).toBeUndefined()
})

it('takes no time without end', () => {
  const start = performance.now()
  for (const pattern of ['(a+)+$', '(a|a)*b', '(.*)*x', '(a*)*(a*)*c']) {
    expect(modulePattern(pattern)!('a'.repeat(5000))).toBe(pattern === '(a+)+$')
  }
  expect(performance.now() - start).toBeLessThan(2000)
})

it('ends for any text', () => {
  const pieces = ['a', 'b', '.', '*', '+', '?', '(', ')', '|', '[', ']', '{1,3}', '\\d', '^', '$']
  let numRead = 0
  for (let seed = 1; seed <= 2000; seed++) {
    const random = seededRandom(seed)
    const length = 1 + random.below(8)
    const text = Array.from({ length }, () => pieces[random.below(pieces.length)]).join('')
    const matches = modulePattern(text)
    if (matches === undefined) continue
    numRead += 1
    for (const name of ['aab1', 'b', '']) {
      expect(matches(name), `seed ${seed}: ${text}`).toBe(new RegExp(`^(?:${text})`).test(name))
    }
  }
  expect(numRead).toBeGreaterThan(300)
})
