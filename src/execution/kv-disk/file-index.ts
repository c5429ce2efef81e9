/**
 * Which files the cache has, the one unused longest first, and how many bytes they are together. Owns this knowledge, not
 * the files. Other processes may use the same folder: what it says is true of this process's last look, and a file that
 * has gone is found to be gone when it is read.
 *
 * L1 `bytes` is the sum over all files known.
 */

import { invariant } from '../../base/errors.ts'
import type { KvFile } from './kv-files.ts'

export class FileIndex {
  /** In order of use. */
  readonly #sizes = new Map<string, number>()
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#sizes.size
  }

  has(path: string): boolean {
    return this.#sizes.has(path)
  }

  /** Forget everything, and know these. */
  replace(files: readonly KvFile[]): void {
    this.#sizes.clear()
    this.#bytes = 0
    for (const { path, bytes } of [...files].sort((a, b) => a.usedMs - b.usedMs))
      this.add(path, bytes)
  }

  /** A file was written or used. */
  add(path: string, bytes: number): void {
    this.remove(path)
    this.#sizes.set(path, bytes)
    this.#bytes += bytes
  }

  /** Count it as used now. */
  touch(path: string): void {
    const bytes = this.#sizes.get(path)
    if (bytes !== undefined) this.add(path, bytes)
  }

  remove(path: string): void {
    const bytes = this.#sizes.get(path)
    if (bytes === undefined) return
    this.#sizes.delete(path)
    this.#bytes -= bytes
  }

  /** Forget all files in this folder below a configuration's. */
  removeTenant(tenant: string): void {
    for (const path of this.#sizes.keys()) if (path.split('/')[1] === tenant) this.remove(path)
  }

  /** Forget files, the one unused longest first, until at most `limitBytes` are left. @returns the forgotten ones */
  shrink(limitBytes: number): string[] {
    const removed: string[] = []
    for (const path of this.#sizes.keys()) {
      if (this.#bytes <= limitBytes) break
      this.remove(path)
      removed.push(path)
    }
    invariant(this.#bytes >= 0, 'L1', 'files of the disk cache are counted twice')
    return removed
  }
}
