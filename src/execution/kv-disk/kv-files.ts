/**
 * The files of the cache: written whole or not at all, read, listed, removed. Everything off the thread. Does not know
 * what is in them, nor how many there may be.
 *
 *   <name>.kv               whole
 *   <name>.kv.<pid>-<word>.part   being written by that process; removed when it is found and the process has gone, or is
 *                                 another one of the same number, as in containers
 *   forgotten/<tenant>      which removal of a tenant's files was the last one; see `forget-tenant.ts`
 *   forgotten/all           the same for everybody's
 */

import { randomBytes } from 'node:crypto'
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface KvFile {
  /** Relative to the folder. */
  readonly path: string
  readonly bytes: number
  readonly usedMs: number
}

/** What `DiskTier` needs of a disk; paths are relative. Rejections are the disk's own errors. */
export interface KvFiles {
  write(path: string, bytes: Uint8Array): Promise<void>
  /** @returns bytes read, at most as many as fit; -1 = there is no such file */
  read(path: string, into: Uint8Array): Promise<number>
  /** Count it as used at this time. Failing does no harm. */
  touch(path: string, usedMs: number): Promise<void>
  remove(path: string): Promise<void>
  /** All files of the cache, in no order; leftovers are removed on the way. */
  list(): Promise<readonly KvFile[]>
  /** Changes whenever the tenant's files are removed. */
  generationOf(tenant: string): Promise<string>
  /** Of tenants whose files were removed, and of all others. */
  generations(): Promise<KvGenerations>
  freeBytes(): Promise<number>
}

export interface KvGenerations {
  readonly tenants: ReadonlyMap<string, string>
  readonly others: string
}

export const FORGOTTEN = 'forgotten'
/** In place of a tenant. */
export const ALL_TENANTS = 'all'

const FOLDER_NAME = /^[0-9a-f]{32}$/
const FILE_NAME = /^[0-9a-f]{64}\.kv$/
const PART_NAME = /^[0-9a-f]{64}\.kv\.(\d+)-([0-9a-f]{8})\.part$/
/** No block is written for so long. */
const OLD_MS = 3_600_000
/** This process's. */
const WORD = randomBytes(4).toString('hex')
/** Others on the machine must not read prompts out of it. */
const PRIVATE = { folder: 0o700, file: 0o600 } as const

/** @param folder - made when something is written */
export function openKvFiles(folder: string): KvFiles {
  const at = (path: string) => join(folder, path)
  const markOf = async (name: string) =>
    (await readFile(at(`${FORGOTTEN}/${name}`), 'utf8').catch(absent)) ?? ''
  return {
    async write(path, bytes) {
      const part = `${at(path)}.${process.pid}-${WORD}.part`
      await mkdir(dirname(part), { recursive: true, mode: PRIVATE.folder })
      try {
        await writeFile(part, bytes, { mode: PRIVATE.file })
        await rename(part, at(path))
      } catch (cause) {
        await rm(part, { force: true }).catch(() => {}) // The first failure is the one to tell.
        throw cause
      }
    },
    async read(path, into) {
      const file = await open(at(path), 'r').catch(absent)
      if (file === null) return -1
      try {
        return (await file.read(into, 0, into.length, 0)).bytesRead
      } finally {
        await file.close()
      }
    },
    touch: (path, usedMs) =>
      utimes(at(path), usedMs / 1000, usedMs / 1000).catch(() => {}) /* it has gone meanwhile */,
    remove: (path) => rm(at(path), { force: true }),
    list: () => listFiles(folder),
    async generationOf(tenant) {
      const [own, all] = await Promise.all([tenant, ALL_TENANTS].map(markOf))
      return `${all} ${own}`
    },
    async generations() {
      const tenants = (await namesIn(at(FORGOTTEN))).filter((name) => FOLDER_NAME.test(name))
      const found = tenants.map(async (name) => [name, await this.generationOf(name)] as const)
      const others = `${await markOf(ALL_TENANTS)} `
      return { tenants: new Map(await Promise.all(found)), others }
    },
    async freeBytes() {
      await mkdir(folder, { recursive: true, mode: PRIVATE.folder })
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    },
  }
}

async function listFiles(folder: string): Promise<readonly KvFile[]> {
  const files: KvFile[] = []
  for (const configuration of await foldersIn(folder)) {
    for (const tenant of await foldersIn(join(folder, configuration))) {
      const place = join(configuration, tenant)
      const names = await namesIn(join(folder, place))
      await Promise.all(
        names.map(async (name) => {
          const path = join(place, name)
          const stats = await stat(join(folder, path)).catch(absent)
          if (stats === null) return
          const { size: bytes, mtimeMs: usedMs } = stats
          if (FILE_NAME.test(name)) files.push({ path, bytes, usedMs })
          else if (isLeftover(name, usedMs)) await rm(join(folder, path), { force: true })
        }),
      )
    }
  }
  return files
}

/** Of a process that ended while it wrote. */
function isLeftover(name: string, writtenMs: number): boolean {
  const [, pidText, word] = PART_NAME.exec(name) ?? []
  if (pidText === undefined) return false
  const pid = Number(pidText)
  if (Date.now() - writtenMs > OLD_MS || (pid === process.pid && word !== WORD)) return true
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    // A process of somebody else's lives as well.
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

async function foldersIn(folder: string): Promise<readonly string[]> {
  return (await namesIn(folder)).filter((name) => FOLDER_NAME.test(name))
}

async function namesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(absent)) ?? []
}

function absent(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT') return null
  throw error
}
