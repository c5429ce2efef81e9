/** Writes the README's figures from the records that its marks name (`npm run bench:table`; `npm run docs` does it too). */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { renderBenchTables } from './render-bench-table.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const README = join(ROOT, 'README.md')

const text = readFileSync(README, 'utf8')
const rendered = renderBenchTables(text, (path) =>
  JSON.parse(readFileSync(join(ROOT, path), 'utf8')),
)
writeFileSync(README, rendered)
process.stdout.write('wrote README.md\n')
