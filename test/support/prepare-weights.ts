/** Global setup of the `weights` project: build what is stale, fetch the default model once, tell the tests its path. */

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { modelPath } from './model-path.ts'

const BUILD = fileURLToPath(new URL('../../scripts/build.mjs', import.meta.url))

export async function setup(): Promise<void> {
  execFileSync(process.execPath, [BUILD], { stdio: 'inherit' })
  process.env.INGOT_TEST_MODEL = await modelPath()
}
