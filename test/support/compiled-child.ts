/**
 * Compiles one TypeScript file of this folder, with what it imports, to JavaScript that a child process can run: Node 20
 * reads no TypeScript, and `dist/` may be older than the sources under test.
 */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '../..')

/** @returns path of the compiled module; takes about a second */
export async function compileChild(name: string): Promise<string> {
  // Inside node_modules, so that packages are found from there and git does not see it.
  const out = join(ROOT, 'node_modules/.cache/ingot-children', name)
  const flags = ['--rewriteRelativeImportExtensions', '--skipLibCheck', '--noCheck']
  await promisify(execFile)(process.execPath, [
    join(ROOT, 'node_modules/typescript/bin/tsc'),
    ...['--target', 'es2023', '--module', 'nodenext', '--types', 'node', '--ignoreConfig'],
    ...['--rootDir', ROOT, '--outDir', out, ...flags],
    join(ROOT, 'test/support', `${name}.ts`),
  ])
  return join(out, 'test/support', `${name}.js`)
}
