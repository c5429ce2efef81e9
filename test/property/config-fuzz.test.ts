import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ServingError } from '../../src/base/errors.ts'
import { settingsProblems } from '../../src/config/check-settings.ts'
import { parseConfigFile } from '../../src/config/document.ts'
import { readCatalog } from '../../src/deployment/endpoints/catalog-file.ts'
import { checkCatalog } from '../../src/deployment/endpoints/check-catalog.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'

const EXAMPLE = readFileSync(join(import.meta.dirname, '../../examples/ingot.yaml'), 'utf8')
const NUM_SEEDS = 1500

/** Lines, words and characters that mean something in YAML or in our files. */
const SNIPPETS = [
  ...['&a ', '*a', '<<: *a', '!!str ', '%YAML 1.1', '---', '...', '|', '>-', '? ', ': ', '- '],
  ...['{', '}', '[', ']', '"', "'", '#', '\t', '\n', '  ', '~', 'null', '0x10', '.inf', '1e999'],
  ...['__proto__: 1', 'constructor: {}', 'auto', 'off', '-1', '9'.repeat(30), '\u0000', '\uD800'],
  ...[
    'chat: [chat]',
    'smollm2',
    'targets: []',
    'model:',
    'replicas: {min: 9, max: 1}',
    'é'.repeat(300),
  ],
]

function mutated(random: SeededRandom): string {
  let text = EXAMPLE
  for (let round = 1 + random.below(6); round > 0; round -= 1) {
    const at = random.below(text.length)
    const to = at + random.below(40)
    switch (random.below(4)) {
      case 0:
        text = text.slice(0, at) + text.slice(to)
        break
      case 1:
        text = text.slice(0, to) + text.slice(at, to) + text.slice(to)
        break
      case 2:
        text = text.slice(0, at) + SNIPPETS[random.below(SNIPPETS.length)] + text.slice(at)
        break
      default: {
        const lines = text.split('\n')
        const one = random.below(lines.length)
        const other = random.below(lines.length)
        const moved = lines[one] ?? ''
        lines[one] = lines[other] ?? ''
        lines[other] = moved
        text = lines.join('\n')
      }
    }
  }
  return text
}

it('whatever a file holds, it is one whole catalog or refused with places, in little time', () => {
  const kinds = { well: 0, refused: 0, unreadable: 0 }
  let slowestMs = 0
  for (let seed = 0; seed < NUM_SEEDS; seed += 1) {
    const text = mutated(seededRandom(seed))
    const start = performance.now()
    try {
      const root = parseConfigFile({ path: 'f.yaml', text })
      const file = { path: 'f.yaml', root }
      const settings = settingsProblems({ file, environment: {} })
      const { catalog, problems } = readCatalog(file, { activations: 'int8', retention: 'none' })
      for (const { message } of [...settings, ...problems]) {
        expect(message, `seed ${seed}`).toMatch(/^f\.yaml:\d+:\d+: /)
        expect(message.length, `seed ${seed}`).toBeLessThan(1500)
      }
      if (catalog === null) expect(problems.length, `seed ${seed}`).toBeGreaterThan(0)
      else expect(checkCatalog(catalog), `seed ${seed}`).toEqual([])
      kinds[catalog === null ? 'refused' : 'well'] += 1
    } catch (error) {
      if (!(error instanceof ServingError)) throw new Error(`seed ${seed}`, { cause: error })
      expect(error.code, `seed ${seed}`).toMatch(
        /^CONFIG_(?:FILE_INVALID|FILE_TOO_LARGE|DUPLICATE_KEY)$/,
      )
      expect(error.message, `seed ${seed}`).toMatch(/^f\.yaml:/)
      kinds.unreadable += 1
    }
    slowestMs = Math.max(slowestMs, performance.now() - start)
  }
  // The mutations reach all three ends.
  for (const count of Object.values(kinds)) expect(count).toBeGreaterThan(NUM_SEEDS / 50)
  expect(slowestMs).toBeLessThan(1000)
})
