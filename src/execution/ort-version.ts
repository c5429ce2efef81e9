/** Which ONNX Runtime computes: the version of the npm package that its library lies in. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** `unknown` for a library outside of the package, whose version nothing states. */
export function ortVersion(libraryPath: string): string {
  for (let folder = dirname(libraryPath); folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json')
    if (!existsSync(manifest)) continue
    const { name, version } = JSON.parse(readFileSync(manifest, 'utf8')) as Record<string, unknown>
    if (name === 'onnxruntime-node' && typeof version === 'string') return version
  }
  return 'unknown'
}
