/**
 * The physical limits of the machine, measured in the same run as the systems: a small Rust program, because neither can
 * be had from JavaScript. Runs `native/kernels/examples/limits.rs`; Cargo compiles it the first time.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface MachineLimits {
  readonly threads: number
  readonly readBytesPerSecond: number
  /** Multiply-adds of `vpdpbusd`; `null` where the CPU has none. */
  readonly int8MacsPerSecond: number | null
}

const run = promisify(execFile)

/**
 * @param targetFolder - where Cargo compiles to
 * @throws Error with Cargo's words when the program does not compile or run
 */
export async function measureLimits(
  root: string,
  threads: number,
  targetFolder: string,
): Promise<MachineLimits> {
  const build = ['run', '--quiet', '--release', '--locked', '-p', 'ingot-kernels']
  const place = ['--target-dir', targetFolder, '--example', 'limits']
  const args = [...build, ...place, '--', `${threads}`]
  const { stdout } = await run('cargo', args, { cwd: join(root, 'native') })
  return JSON.parse(stdout) as MachineLimits
}
