/**
 * Bundles the command and the engine process into `dist/app/`: a server's start reads some 30 files and its engine's a
 * dozen, instead of 1,100, which took two thirds of a cold start. Owns `dist/app/`.
 *
 *   main.js             the command line; each command's own modules are in chunks that are loaded when it is called
 *   engine-process.js   a replica's process
 *
 * Names and line breaks stay, so a stack trace reads as before; `node --enable-source-maps` shows the TypeScript. Text
 * outside of ASCII is escaped: V8 would keep the whole of such a file in memory at two bytes a character.
 *
 * I1 chunks are named by their content and stay for a day after the build that no longer has them, however old they are: a
 *    server that runs may still load them.
 */

import { readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BuildError } from './build-error.mjs'

export const APP_FOLDER = 'app'
const KEPT_MS = 24 * 60 * 60 * 1000
/** Names of the newest build's files, one a line. */
const LIST = '.newest'

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
  await removeReplaced(folder, written)
}

async function importBundler() {
  try {
    return await import('rolldown')
  } catch (cause) {
    throw new BuildError(`the bundler cannot be loaded (${cause.message}); run: npm ci`)
  }
}

/**
 * Remove what was replaced more than a day ago. A replaced file's time of change says when it was.
 *
 * @param {string} folder
 * @param {ReadonlySet<string>} written - names of the build that has just been written
 */
export async function removeReplaced(folder, written) {
  const now = new Date()
  const newest = await namesOfNewest(folder)
  for (const name of await readdir(folder)) {
    if (written.has(name) || name === LIST) continue
    const file = join(folder, name)
    if (newest === null || newest.has(name)) await utimes(file, now, now)
    else if (now.getTime() - (await stat(file)).mtimeMs > KEPT_MS)
      await rm(file, { recursive: true })
  }
  await writeFile(join(folder, LIST), [...written].join('\n'))
}

/** `null` = an earlier version of this file built it. */
async function namesOfNewest(folder) {
  try {
    return new Set((await readFile(join(folder, LIST), 'utf8')).split('\n'))
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    return null
  }
}
