/**
 * Builds what a checkout needs to run: `dist/` from TypeScript, file by file and bundled, and `native/ingot.node` from
 * Rust.
 *
 * Owns `dist/` and the stamps in it that say which sources were built. A build with nothing to do starts no compiler.
 * Plain Node without dependencies, because it runs before anything is built.
 *
 * I1 a stamp is written only after its build succeeded: a failed or killed build is done again.
 * I2 one build at a time in a checkout.
 */

import { existsSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addonFile, buildAddon } from './build-addon.mjs'
import { BuildError } from './build-error.mjs'
import { APP_FOLDER, bundleProgram } from './bundle-program.mjs'
import { compileTypeScript } from './compile-typescript.mjs'
import { withLock } from './lock.mjs'
import { sourceStamp } from './source-stamp.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const DIST = join(ROOT, 'dist')

const parts = [
  {
    name: 'TypeScript',
    isAddon: false,
    stampFile: join(DIST, '.stamp-typescript'),
    outputs: [join(DIST, 'src', 'main.js'), join(DIST, APP_FOLDER, 'main.js')],
    entries: [
      'src',
      'models',
      'native',
      'benchmarks',
      'scripts',
      'tsconfig.json',
      'package-lock.json',
    ],
    names: /\.ts$|^(bundle-program|compile-typescript)\.mjs$/,
    run: async (root) => {
      await compileTypeScript(root)
      await bundleProgram(root)
    },
  },
  {
    name: 'native addon',
    isAddon: true,
    stampFile: join(DIST, '.stamp-native'),
    outputs: [addonFile(ROOT)],
    entries: ['native'],
    names: /\.rs$|^Cargo\.(toml|lock)$|^config\.toml$|^rust-toolchain/,
    run: buildAddon,
  },
]

/**
 * Bring everything up to date.
 *
 * @param {(line: string) => void} say - progress for people
 * @param {{ needsAddon?: boolean }} options - without the addon for commands that compute nothing: Rust takes minutes
 * @throws {BuildError} when a compiler is missing or refuses
 */
export async function build(say, { needsAddon = true } = {}) {
  const wanted = parts.filter(({ isAddon }) => needsAddon || !isAddon)
  if (wanted.every(isFresh)) return
  const onWait = (pid) => say(`another build is running (pid ${pid}), waiting for it`)
  await withLock(join(DIST, '.build-lock'), onWait, async () => {
    for (const part of wanted) {
      if (isFresh(part)) continue
      const stamp = stampOf(part)
      const startMs = performance.now()
      say(`building ${part.name}`)
      await rm(part.stampFile, { force: true })
      await part.run(ROOT, say)
      await writeFile(part.stampFile, stamp)
      say(`built ${part.name} in ${((performance.now() - startMs) / 1000).toFixed(1)} s`)
    }
  })
}

/** Whether the sources are here at all; an image carries only what was built from them. */
export function hasSources() {
  return existsSync(join(ROOT, 'src', 'main.ts')) && existsSync(join(ROOT, 'tsconfig.json'))
}

function isFresh(part) {
  if (!part.outputs.every(existsSync) || !existsSync(part.stampFile)) return false
  return readFileSync(part.stampFile, 'utf8') === stampOf(part)
}

function stampOf({ entries, names }) {
  return sourceStamp(ROOT, entries, names)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await build((line) => process.stderr.write(`ingot build: ${line}\n`))
  } catch (error) {
    if (!(error instanceof BuildError)) throw error
    process.stderr.write(`ingot build: ${error.message}\n`)
    process.exitCode = 1
  }
}
