/**
 * Bundles the command and the engine process into `dist/app/`: a start reads a dozen files instead of 1,100, which took
 * two thirds of a server's cold start. Owns `dist/app/`.
 *
 *   main.js             the command line; each command's own modules are in chunks that are loaded when it is called
 *   engine-process.js   a replica's process
 *
 * Names and line breaks stay, so a stack trace reads as before; `node --enable-source-maps` shows the TypeScript. Text
 * outside of ASCII is escaped: V8 would keep the whole of such a file in memory at two bytes a character.
 *
 * I1 chunks are named by their content, and those of earlier builds stay for a day: a server that runs may still load them.
 */

import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { BuildError } from './build-error.mjs'

export const APP_FOLDER = 'app'
const KEPT_MS = 24 * 60 * 60 * 1000

/** @throws {BuildError} when the bundler is not installed or finds an import that leads nowhere */
export async function bundleProgram(root) {
  const { rolldown } = await importBundler()
  const folder = join(root, 'dist', APP_FOLDER)
  const written = new Set()
  try {
    const bundle = await rolldown({
      cwd: root,
      input: { main: 'src/main.ts', 'engine-process': 'src/worker/engine-process.ts' },
      platform: 'node',
      // Its addon finds its library beside itself.
      external: [/^onnxruntime-node/],
      onLog: (level, log, report) => {
        if (log.code === 'UNRESOLVED_IMPORT') throw new Error(log.message)
        report(level, log)
      },
    })
    const { output } = await bundle.write({
      dir: folder,
      format: 'esm',
      chunkFileNames: '[name]-[hash].js',
      sourcemap: true,
      comments: false,
      charset: 'ascii',
    })
    await bundle.close()
    for (const { fileName } of output) written.add(fileName)
  } catch (error) {
    throw new BuildError(`the program could not be bundled: ${error.message}`)
  }
  await removeOld(folder, written)
}

async function importBundler() {
  try {
    return await import('rolldown')
  } catch (cause) {
    throw new BuildError(`the bundler cannot be loaded (${cause.message}); run: npm ci`)
  }
}

async function removeOld(folder, written) {
  for (const name of await readdir(folder)) {
    if (written.has(name)) continue
    const file = join(folder, name)
    const { mtimeMs } = await stat(file)
    if (Date.now() - mtimeMs > KEPT_MS) await rm(file, { recursive: true })
  }
}
