/** Rust's target for 64-bit ARM, and whether this machine's Rust can compile for it. */

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { findCargo } from './build-addon.mjs'

export const AARCH64 = 'aarch64-unknown-linux-gnu'

export function hasAarch64() {
  const cargo = findCargo()
  if (cargo === null) return false
  const rustc = join(dirname(cargo), 'rustc')
  const { stdout } = spawnSync(rustc, ['--print', 'sysroot'], { encoding: 'utf8' })
  return existsSync(join(stdout?.trim() ?? '', 'lib', 'rustlib', AARCH64, 'lib'))
}
