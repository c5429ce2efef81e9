/**
 * One short text that changes when any of a set of source files does: a hash of names, sizes and modification times.
 * Reads no contents, so it costs a few milliseconds; a touched file counts as changed.
 */

import { createHash } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const SKIPPED = new Set(['node_modules', 'target', 'dist', '.git'])

/**
 * @param {string} root
 * @param {readonly string[]} entries - files and folders relative to `root`; one that is absent counts as empty
 * @param {RegExp} names - files whose name matches are sources
 * @returns {string} 64 hex digits
 */
export function sourceStamp(root, entries, names) {
  const hash = createHash('sha256')
  hash.update(`${process.platform} ${process.arch} ${process.versions.node}\n`)
  for (const file of entries.flatMap((entry) => filesUnder(root, entry, names)).sort()) {
    const { size, mtimeMs } = statSync(join(root, file))
    hash.update(`${file} ${size} ${mtimeMs}\n`)
  }
  return hash.digest('hex')
}

/** Paths relative to `root`. */
export function filesUnder(root, entry, names) {
  const stats = statSync(join(root, entry), { throwIfNoEntry: false })
  if (stats === undefined) return []
  if (stats.isFile()) return [entry]
  return readdirSync(join(root, entry), { withFileTypes: true }).flatMap((child) => {
    if (child.isDirectory()) {
      return SKIPPED.has(child.name) ? [] : filesUnder(root, join(entry, child.name), names)
    }
    return names.test(child.name) ? [join(entry, child.name)] : []
  })
}
