/**
 * Everything that can be said about the sources without running them: lint, format, import rules, types, Rust.
 * Runs all checks even when one fails, and ends with one line a check.
 */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AARCH64, hasAarch64 } from './aarch64.mjs'
import { cargoTargetFolder, findCargo } from './build-addon.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const NATIVE = join(ROOT, 'native')
const modules = join(ROOT, 'node_modules')
const tsc = join(modules, 'typescript', 'bin', 'tsc')
const biome = join(modules, '@biomejs', 'biome', 'bin', 'biome')
const cargo = findCargo()
// Biome colours its output also where nobody can see colours.
const color = process.stdout.isTTY ? 'force' : 'off'

const checks = [
  [
    'lint, format, import rules',
    process.execPath,
    [biome, 'ci', '--error-on-warnings', `--colors=${color}`],
    ROOT,
  ],
  ['types of the sources', process.execPath, [tsc, '-p', 'tsconfig.json', '--noEmit'], ROOT],
  ['types of the tests', process.execPath, [tsc, '-p', 'tsconfig.test.json'], ROOT],
  ['Rust format', cargo, ['fmt', '--all', '--check'], NATIVE],
  [
    'Rust lint',
    cargo,
    ['clippy', '--workspace', '--all-targets', '--release', '--locked', '--', '-D', 'warnings'],
    NATIVE,
  ],
  // Kernels of the other processor, so that they do not rot where nobody builds them.
  [
    'Rust lint of the kernels for aarch64',
    cargo,
    [
      ...['clippy', '-p', 'ingot-kernels', '--all-targets', '--release', '--locked'],
      ...['--target', AARCH64, '--', '-D', 'warnings'],
    ],
    NATIVE,
    hasAarch64() ? null : `skipped: rustup target add ${AARCH64} makes it run`,
  ],
]

const results = checks.map(([name, command, args, cwd, skipped = null]) => {
  if (skipped !== null) return [name, skipped]
  if (command === null) return [name, 'FAILED: no cargo found, install Rust from https://rustup.rs']
  const env = { ...process.env, CARGO_TARGET_DIR: cargoTargetFolder() }
  const { status, error } = spawnSync(command, args, { cwd, env, stdio: 'inherit' })
  if (error !== undefined) return [name, `FAILED: ${error.message}`]
  return [name, status === 0 ? 'ok' : 'FAILED']
})

for (const [name, result] of results) console.log(`check: ${name}: ${result}`)
process.exitCode = results.some(([, result]) => result.startsWith('FAILED')) ? 1 : 0
