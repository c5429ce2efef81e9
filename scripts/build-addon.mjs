/**
 * Runs Cargo on `native/` and puts the library where the binding looks for it, `native/ingot.node`.
 *
 * The Cargo target folder lies outside of the checkout, in the user's cache, so that a second clone compiles no
 * dependency again; CARGO_TARGET_DIR moves it.
 *
 * I1 the addon is replaced by rename: a process that has the old one open keeps it.
 * I2 two clones never copy each other's library: from build to copy a lock on the target folder is held.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { BuildError } from './build-error.mjs'
import { withLock } from './lock.mjs'

const NO_CARGO = `Rust is needed to build the native addon, and no cargo was found in PATH or ~/.cargo/bin.
  Install it from https://rustup.rs (or with your package manager) and run this again:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
  Without Rust, use the container image: docker compose up`

export function addonFile(root) {
  return join(root, 'native', 'ingot.node')
}

/** The cargo program, or `null`. */
export function findCargo() {
  const name = process.platform === 'win32' ? 'cargo.exe' : 'cargo'
  const separator = process.platform === 'win32' ? ';' : ':'
  const folders = (process.env.PATH ?? '').split(separator).filter((folder) => folder !== '')
  folders.push(join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin'))
  return folders.map((folder) => join(folder, name)).find((file) => existsSync(file)) ?? null
}

/** Where Cargo compiles to. */
export function cargoTargetFolder() {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return process.env.CARGO_TARGET_DIR || join(cache, 'ingot', 'cargo-target')
}

/** @throws {BuildError} when cargo is missing or refuses */
export async function buildAddon(root, say) {
  const cargo = findCargo()
  if (cargo === null) throw new BuildError(NO_CARGO)
  const target = cargoTargetFolder()
  say(`compiling Rust in ${target}; the first time takes some minutes`)
  const onWait = (pid) => say(`pid ${pid} is building in ${target}, waiting for it`)
  await withLock(join(target, '.ingot-build-lock'), onWait, async () => {
    const library = await runCargo(cargo, root, target)
    const draft = `${addonFile(root)}.${process.pid}`
    try {
      await copyFile(library, draft)
      await rename(draft, addonFile(root))
    } finally {
      await rm(draft, { force: true })
    }
  })
}

/** Returns the path of the library that Cargo says it made. */
async function runCargo(cargo, root, target) {
  const args = ['build', '--release', '--locked', '--message-format=json-render-diagnostics']
  const child = spawn(cargo, args, {
    cwd: join(root, 'native'),
    env: { ...process.env, CARGO_TARGET_DIR: target },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  let library = null
  for await (const line of createInterface({ input: child.stdout })) {
    const message = JSON.parse(line)
    const isAddon = message.reason === 'compiler-artifact' && message.target.kind.includes('cdylib')
    if (isAddon) library = message.filenames.find((file) => /\.(so|dylib|dll)$/.test(file)) ?? null
  }
  const [code] = await exit
  if (code !== 0) throw new BuildError(`cargo ended with code ${code}; its message is above`)
  if (library === null)
    throw new BuildError(
      'cargo built no library; native/Cargo.toml must have one of crate type cdylib',
    )
  return library
}
