/** Writes docs/errors.md and docs/configuration.md from the built tables, README.md's figures from records (`npm run docs`). */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from './build.mjs'
import { renderConfiguration, renderErrors } from './render-docs.mjs'
import { filesUnder } from './source-stamp.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

await build((line) => process.stderr.write(`${line}\n`), { needsAddon: false })
// A room's table declares itself when its module is loaded.
for (const file of filesUnder(ROOT, 'dist', /^errors\.js$/)) await load(file)
const { allErrorTables } = await load('dist/src/base/errors.js')
const { OPTIONS } = await load('dist/src/config/options.js')
const { defaultText } = await load('dist/src/cli/config-flags.js')

write('docs/errors.md', renderErrors(allErrorTables()))
write('docs/configuration.md', renderConfiguration(OPTIONS, defaultText))
await import('./generate-bench-table.mjs')

function load(file) {
  return import(pathToFileURL(join(ROOT, file)).href)
}

function write(file, text) {
  writeFileSync(join(ROOT, file), text)
  console.log(`wrote ${file}`)
}
