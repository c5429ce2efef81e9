/** Where our own package's files lie, from `src/` under vitest, and from `dist/app/` and `dist/src/` once built. */

import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}

export interface PackageFiles {
  readonly root: string
  readonly version: string
  /** Exact, as all our dependencies are pinned. */
  readonly ortVersion: string
  readonly catalogFolder: string
  /** JavaScript file of the engine process. */
  readonly engineEntry: string
}

/** Cost: one small file read. */
export function packageFiles(): PackageFiles {
  const start = dirname(fileURLToPath(import.meta.url))
  for (let folder = start; folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = readManifest(join(folder, 'package.json'))
    if (manifest?.name !== 'ingot') continue
    return {
      root: folder,
      version: manifest.version,
      ortVersion: manifest.dependencies['onnxruntime-node'] ?? 'unknown',
      catalogFolder: join(folder, 'models', 'catalog'),
      engineEntry: join(folder, 'dist', 'app', 'engine-process.js'),
    }
  }
  throw new Error(`no package.json of ingot above ${start}: the installation is not whole`)
}

function readManifest(file: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Manifest
  } catch {
    // Absent on the way up.
    return undefined
  }
}
