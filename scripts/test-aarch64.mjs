/**
 * Runs the tests of the kernels as an ARM processor would, under QEMU: once with dot products of bytes and once without.
 * Arguments go to the tests: `npm run test:aarch64 -- linear` runs those with that in their name.
 *
 * Says nothing about speed: QEMU translates instructions.
 */

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AARCH64, hasAarch64 } from './aarch64.mjs'
import { cargoTargetFolder, findCargo } from './build-addon.mjs'

const NATIVE = join(fileURLToPath(new URL('..', import.meta.url)), 'native')
const COMPILER = 'aarch64-linux-gnu-gcc'
const EMULATOR = 'qemu-aarch64'
// The second is a processor of ARMv8.0, which has no `sdot`.
const PROCESSORS = ['max', 'cortex-a53']

const starts = (program) => spawnSync(program, ['--version']).error === undefined
const missing = [
  !hasAarch64() && `rustup target add ${AARCH64}`,
  !starts(COMPILER) && 'apt-get install gcc-aarch64-linux-gnu',
  !starts(EMULATOR) && 'apt-get install qemu-user',
].filter((command) => command !== false)

if (missing.length > 0) {
  console.error(`test:aarch64: these are needed first:\n  ${missing.join('\n  ')}`)
  process.exit(1)
}
for (const processor of PROCESSORS) {
  console.log(`test:aarch64: on ${processor}`)
  const args = ['test', '--release', '--locked', '-p', 'ingot-kernels', '--target', AARCH64]
  const { status } = spawnSync(findCargo(), [...args, '--', ...process.argv.slice(2)], {
    cwd: NATIVE,
    env: {
      ...process.env,
      CARGO_TARGET_DIR: cargoTargetFolder(),
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER: COMPILER,
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER: `${EMULATOR} -L /usr/aarch64-linux-gnu -cpu ${processor}`,
    },
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(status ?? 1)
}
