/**
 * Runs the TypeScript compiler into `dist/` and removes outputs whose source is gone, so that nothing can import a file
 * that a fresh clone would not have. `dist/app/` is the bundler's.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BuildError } from './build-error.mjs'
import { filesUnder } from './source-stamp.mjs'

/** @throws {BuildError} when a type error was found or the compiler is not installed */
export async function compileTypeScript(root) {
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  if (!existsSync(compiler)) {
    throw new BuildError('the TypeScript compiler is not installed; run: npm ci')
  }
  // Without its memory of the last run tsc trusts that the outputs are still there.
  const output = join(root, 'dist', 'src', 'main.js')
  if (!existsSync(output)) await rm(join(root, 'dist', '.tsbuildinfo'), { force: true })
  const child = spawn(process.execPath, [compiler, '-p', 'tsconfig.json'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new BuildError('TypeScript found the errors above')
  for (const file of filesUnder(root, 'dist', /\.(js|js\.map|d\.ts)$/)) {
    if (file.startsWith('dist/app/')) continue
    const source = file.replace(/^dist\//, '').replace(/\.(js|js\.map|d\.ts)$/, '.ts')
    if (!existsSync(join(root, source))) await rm(join(root, file))
  }
}
