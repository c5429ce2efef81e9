/**
 * The folder that weights lie in, and the only module that knows its layout.
 *
 *   blobs/sha256/DIGEST    whole, verified, read-only files under the name of their content
 *   sets/sha256/DIGEST/    links to the blobs of a model in several files, under the names that they know each other by
 *   refs/KEY.json          source → digest; KEY is the sha256 of the canonical source
 *   digests/KEY.json       digests of files here and elsewhere, by path, size and times
 *   partial/KEY.part       downloads under way and interrupted ones, with KEY.part.json beside
 *   partial/KEY.member     a member while it is being taken out of its archive
 *   locks/KEY.lock         who is fetching a source
 *
 * I1: a file in `blobs` was hashed while it was written, and its digest is its name.
 * I2: a ref is written after its blob; a ref without its blob counts as absent.
 */

import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, readlink, rename, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileSize, publish, readJson, writeTextDurably } from './disk.ts'
import { ioFailure, reasonOf } from './errors.ts'
import type { FilePart } from './local-files.ts'

/** What `refs` says of one fetched source. */
export interface StoredRef {
  /** Canonical text. */
  readonly source: string
  readonly digest: string
  readonly sizeBytes: number
  /** Of a model in several files, sorted by name; its digest is theirs joined (`local-files.ts`). */
  readonly parts?: readonly FilePart[]
  /** Which of the parts the engine is given; empty = the folder of all. */
  readonly entry?: string
  /** What the source resolved to: a commit, a release, an ETag; `null` when it says nothing. */
  readonly revision: string | null
  /** Milliseconds since 1970. */
  readonly fetchedAtMs: number
}

/** A file outside the store whose digest has been computed. */
export interface KnownDigest {
  readonly path: string
  readonly sizeBytes: number
  readonly mtimeMs: number
  readonly ctimeMs: number
  readonly inode: number
  readonly digest: string
}

const FOLDERS = ['blobs/sha256', 'sets/sha256', 'refs', 'digests', 'partial', 'locks']

export class StoreFolder {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** Make the folders. @throws ServingError STORE_IO */
  async prepare(): Promise<void> {
    for (const name of FOLDERS) {
      const folder = join(this.root, name)
      try {
        await mkdir(folder, { recursive: true })
      } catch (error) {
        throw ioFailure(error, folder, 'making the folder')
      }
    }
  }

  blobPath(digest: string): string {
    return join(this.root, 'blobs', 'sha256', digest)
  }

  setPath(digest: string): string {
    return join(this.root, 'sets', 'sha256', digest)
  }

  partialPath(source: string): string {
    return join(this.root, 'partial', `${keyOf(source)}.part`)
  }

  memberPath(source: string): string {
    return join(this.root, 'partial', `${keyOf(source)}.member`)
  }

  lockPath(source: string): string {
    return join(this.root, 'locks', `${keyOf(source)}.lock`)
  }

  /** Size of a blob, or `undefined` when it is not there. */
  async blobSize(digest: string): Promise<number | undefined> {
    return fileSize(this.blobPath(digest))
  }

  /**
   * Publish a finished temporary file as a blob. A blob that is there already stays.
   *
   * @param temporary - in this store, hashed while it was written; gone afterwards
   * @returns the blob's path
   */
  async addBlob(temporary: string, digest: string, sizeBytes: number): Promise<string> {
    const path = this.blobPath(digest)
    try {
      if ((await fileSize(path)) === sizeBytes) {
        await rm(temporary, { force: true })
        return path
      }
      // Read-only, because everything that was ever said about this digest hangs on these bytes.
      await chmod(temporary, 0o444)
      await publish(temporary, path)
      return path
    } catch (error) {
      throw ioFailure(error, path, 'publishing')
    }
  }

  async removeBlob(digest: string): Promise<void> {
    const path = this.blobPath(digest)
    try {
      await rm(path, { force: true })
    } catch (error) {
      throw ioFailure(error, path, 'removing the damaged file')
    }
  }

  /** Publish links to blobs that are there. Links that are right already stay, for who reads them. @returns the folder */
  async addSet(digest: string, parts: readonly FilePart[]): Promise<string> {
    const path = this.setPath(digest)
    if (await this.hasSet(path, parts)) return path
    const temporary = `${path}.${process.pid}.tmp`
    try {
      await rm(temporary, { recursive: true, force: true })
      for (const { name, digest } of parts) {
        const link = join(temporary, name)
        await mkdir(dirname(link), { recursive: true })
        await symlink(linkTo(digest, name), link)
      }
      await rm(path, { recursive: true, force: true })
      await rename(temporary, path)
      return path
    } catch (error) {
      throw ioFailure(error, path, 'publishing')
    }
  }

  private async hasSet(path: string, parts: readonly FilePart[]): Promise<boolean> {
    for (const { name, digest } of parts) {
      // Absent, or no link: made again.
      const link = await readlink(join(path, name)).catch(() => undefined)
      if (link !== linkTo(digest, name)) return false
    }
    return true
  }

  async readRef(source: string): Promise<StoredRef | undefined> {
    const ref = parseRef(await readJson(this.refPath(source)))
    return ref?.source === source ? ref : undefined
  }

  async writeRef(ref: StoredRef): Promise<void> {
    await writeTextDurably(this.refPath(ref.source), `${JSON.stringify(ref, null, 2)}\n`)
  }

  async removeRef(source: string): Promise<void> {
    await rm(this.refPath(source), { force: true })
  }

  /** All refs, by source. A store that was never used has none. */
  async listRefs(): Promise<StoredRef[]> {
    const folder = join(this.root, 'refs')
    let names: string[]
    try {
      names = await readdir(folder)
    } catch (error) {
      if (reasonOf(error) === 'ENOENT') return []
      throw ioFailure(error, folder, 'listing')
    }
    const refs: StoredRef[] = []
    for (const name of names) {
      if (!name.endsWith('.json')) continue
      const ref = parseRef(await readJson(join(folder, name)))
      if (ref !== undefined) refs.push(ref)
    }
    return refs.sort((a, b) => (a.source < b.source ? -1 : 1))
  }

  async readKnownDigest(path: string): Promise<KnownDigest | undefined> {
    const known = (await readJson(this.digestPath(path))) as Partial<KnownDigest> | undefined
    return known?.path === path && isDigest(known.digest) ? (known as KnownDigest) : undefined
  }

  async writeKnownDigest(known: KnownDigest): Promise<void> {
    await writeTextDurably(this.digestPath(known.path), `${JSON.stringify(known, null, 2)}\n`)
  }

  private refPath(source: string): string {
    return join(this.root, 'refs', `${keyOf(source)}.json`)
  }

  private digestPath(path: string): string {
    return join(this.root, 'digests', `${keyOf(path)}.json`)
  }
}

/** From inside a set, so that the store may be moved. */
function linkTo(digest: string, name: string): string {
  const up = name.split('/').map(() => '..')
  return join('..', '..', ...up, 'blobs', 'sha256', digest)
}

function keyOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** A ref that is not whole counts as absent: it costs a look at the network, never a wrong answer. */
function parseRef(value: unknown): StoredRef | undefined {
  const ref = (value ?? {}) as Partial<StoredRef>
  const isWhole =
    typeof ref.source === 'string' &&
    isDigest(ref.digest) &&
    Number.isSafeInteger(ref.sizeBytes) &&
    typeof ref.fetchedAtMs === 'number' &&
    (ref.parts === undefined || (Array.isArray(ref.parts) && ref.parts.every(isPart))) &&
    (ref.entry === undefined || ref.entry === '' || isName(ref.entry))
  return isWhole ? { ...(ref as StoredRef), revision: ref.revision ?? null } : undefined
}

function isPart(value: unknown): boolean {
  const part = (value ?? {}) as Partial<FilePart>
  return isName(part.name) && isDigest(part.digest) && Number.isSafeInteger(part.sizeBytes)
}

/** A plain relative path. */
function isName(value: unknown): value is string {
  if (typeof value !== 'string' || /[\\\0]/.test(value)) return false
  return value.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
}

function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}
