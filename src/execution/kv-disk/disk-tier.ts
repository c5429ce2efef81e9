/**
 * The engine's tier on disk: blocks that the pool gives up are written behind its back, and read again when somebody
 * comes whose prompt begins with them. Owns the index, the blocks that wait to be written, and the memory for both.
 *
 *   save ─▶ pending, bounded ─▶ sealed ─▶ room made ─▶ written ─▶ known           nothing of it is waited for
 *   load ─▶ read, some at a time ─▶ checked ─▶ lent until `giveBack`
 *
 * Does not know files (`kv-files.ts`), names (`kv-name.ts`) or their bytes (`kv-record.ts`). One JavaScript thread.
 * Invariants:
 * D1 Files that are known and the one that is being written take no more than `limitBytes`; what other processes add
 *    is found, and removed in its turn, each time that an eighth of the limit was written here.
 * D2 A block is lent only when its file is whole and of its name; any other file is removed.
 * D3 Whatever the disk does, no call throws or rejects, and no load hangs: writing pauses, reading finds less.
 */

import type { Clock } from '../../base/clock.ts'
import type { KvKey, KvTier, KvTierStats } from '../../engine/kv-tier.ts'
import { FileIndex } from './file-index.ts'
import type { KvFiles } from './kv-files.ts'
import { childName, type KvName, keyOf, nameOf, rootName, tenantFolder } from './kv-name.ts'
import { blockOf, HEADER_BYTES, isWhole, newRecord, recordOf, sealRecord } from './kv-record.ts'

export interface DiskTierOptions {
  readonly files: KvFiles
  readonly limitBytes: number
  readonly blockBytes: number
  /** Of `configurationFolder`. */
  readonly configuration: string
  readonly clock: Clock
  /** How long a few blocks may take to be read; default 2 s. */
  readonly patienceMs?: number
  /** For people. */
  readonly onWarning: (message: string) => void
}

type Bytes = Uint8Array<ArrayBuffer>

/** Blocks in memory that wait to be written; beyond, blocks are dropped. */
const MOST_PENDING_BYTES = 64 * 2 ** 20
/** Node's pool has four threads, which reads and sums share. */
const NUM_READERS = 8
const PAUSE_MS = 30_000
/** For a few blocks; a disk needs some milliseconds. */
const PATIENCE_MS = 2_000
/** Left to everything else on the disk. */
const RESERVE_BYTES = 256 * 2 ** 20
/** Before the first load: what a slow disk reads. */
const FIRST_BYTES_PER_MS = 3e5
const NEW_SHARE = 0.2

export class DiskTier implements KvTier {
  readonly #options: DiskTierOptions
  readonly #index = new FileIndex()
  readonly #generations = new Map<string, string>()
  /** Of tenants that it does not know. */
  #otherGeneration = ''
  /** By path; those of `#queue` are not begun yet. */
  readonly #pending = new Map<string, Bytes>()
  readonly #queue: KvName[] = []
  readonly #spare: Bytes[] = []
  readonly #recordBytes: number
  /** One at a time writes, looks and removes, so that what is counted is what is there. */
  #writer: Promise<void> | null = null
  #bytesSinceLook = 0
  #pausedUntilMs = Number.NEGATIVE_INFINITY
  #unreadUntilMs = Number.NEGATIVE_INFINITY
  #isClosed = false
  #loadBlockMs: number
  #numSaved = 0
  #numDropped = 0
  #numLoaded = 0
  #numBad = 0

  private constructor(options: DiskTierOptions) {
    this.#options = options
    this.#recordBytes = HEADER_BYTES + options.blockBytes
    this.#loadBlockMs = options.blockBytes / FIRST_BYTES_PER_MS
  }

  /** Look at what is there and shrink it to the limit. Never rejects: a folder that cannot be read is an empty cache. */
  static async open(options: DiskTierOptions): Promise<DiskTier> {
    const tier = new DiskTier(options)
    if (tier.#recordBytes > options.limitBytes) {
      const needed = `a block takes ${tier.#recordBytes} bytes on disk`
      options.onWarning(`disk cache of KV: off, ${needed}, --kv-disk-cache ${options.limitBytes}`)
      tier.#isClosed = true
      return tier
    }
    try {
      const { tenants, others } = await options.files.generations()
      for (const [tenant, generation] of tenants) tier.#generations.set(tenant, generation)
      tier.#otherGeneration = others
      await tier.#look()
    } catch (cause) {
      tier.#pause(cause)
    }
    return tier
  }

  get loadBlockMs(): number {
    return this.#loadBlockMs
  }

  get stats(): KvTierStats {
    return {
      numSavedBlocks: this.#numSaved,
      numDroppedBlocks: this.#numDropped,
      numLoadedBlocks: this.#numLoaded,
      numBadFiles: this.#numBad,
      bytes: this.#index.bytes,
      isPaused: this.#isPaused,
    }
  }

  root(tenant: string, cacheDomain: Int32Array): KvKey {
    const folder = tenantFolder(tenant)
    const generation = this.#generationOf(folder)
    return keyOf(rootName(this.#options.configuration, folder, generation, cacheDomain))
  }

  child(parent: KvKey, tokenIds: Int32Array, first: number, end: number): KvKey {
    return keyOf(childName(nameOf(parent), tokenIds.subarray(first, end)))
  }

  has(key: KvKey): boolean {
    return this.#index.has(nameOf(key).path) && this.#options.clock.nowMs() >= this.#unreadUntilMs
  }

  save(key: KvKey, read: (into: Uint8Array) => void): void {
    const name = nameOf(key)
    const { path } = name
    if (this.#pending.has(path)) return
    if (this.#index.has(path)) {
      this.#index.touch(path)
      void this.#options.files.touch(path, this.#options.clock.wallMs())
      return
    }
    const isFull = (this.#pending.size + 1) * this.#recordBytes > this.#mostPendingBytes
    const isCurrent = name.generation === this.#generationOf(name.tenant)
    if (isFull || !isCurrent || this.#isClosed || this.#isPaused) {
      this.#numDropped += 1
      return
    }
    const record = this.#spare.pop() ?? newRecord(this.#options.blockBytes)
    read(blockOf(record))
    this.#pending.set(path, record)
    this.#queue.push(name)
    this.#writer ??= this.#writeAll()
  }

  async load(keys: readonly KvKey[]): Promise<readonly Uint8Array[]> {
    const startMs = this.#options.clock.nowMs()
    const blocks: Uint8Array[] = []
    for (let at = 0; at < keys.length; at += NUM_READERS) {
      const some = await this.#readSome(keys.slice(at, at + NUM_READERS))
      const missing = some.indexOf(null)
      const numGood = missing < 0 ? some.length : missing
      for (const [index, record] of some.entries()) {
        if (record === null) continue
        if (index < numGood) blocks.push(blockOf(record))
        else this.#spareRecord(record)
      }
      if (missing >= 0) break
    }
    if (blocks.length > 0) {
      const ms = (this.#options.clock.nowMs() - startMs) / blocks.length
      this.#loadBlockMs += NEW_SHARE * (ms - this.#loadBlockMs)
      this.#numLoaded += blocks.length
      this.#touch(keys.slice(0, blocks.length))
    }
    return blocks
  }

  giveBack(blocks: readonly Uint8Array[]): void {
    for (const block of blocks) this.#spareRecord(recordOf(block))
  }

  /** Resolves when fewer blocks wait to be written than may; for whoever saves many. */
  async hasRoom(): Promise<void> {
    while ((this.#pending.size + 1) * this.#recordBytes > this.#mostPendingBytes) await this.#writer
  }

  /** Resolves when everything that was saved is written; nothing is saved afterwards. */
  async close(): Promise<void> {
    this.#isClosed = true
    while (this.#writer !== null) await this.#writer
  }

  get #isPaused(): boolean {
    return this.#options.clock.nowMs() < this.#pausedUntilMs
  }

  get #mostPendingBytes(): number {
    return Math.max(MOST_PENDING_BYTES, this.#recordBytes)
  }

  #generationOf(tenant: string): string {
    return this.#generations.get(tenant) ?? this.#otherGeneration
  }

  async #writeAll(): Promise<void> {
    for (let name = this.#queue.shift(); name !== undefined; name = this.#queue.shift()) {
      const record = this.#pending.get(name.path) as Bytes
      let isWritten = false
      try {
        isWritten = !this.#isPaused && (await this.#write(name, record))
      } catch (cause) {
        this.#pause(cause)
      }
      if (isWritten) this.#numSaved += 1
      else this.#numDropped += 1
      this.#pending.delete(name.path)
      this.#spareRecord(record)
    }
    this.#writer = null
  }

  /** @returns whether it was kept */
  async #write(name: KvName, record: Bytes): Promise<boolean> {
    const { files } = this.#options
    await sealRecord(record, name.digest)
    if (await this.#isForgotten(name)) return false
    await this.#makeRoom()
    await files.write(name.path, record)
    this.#index.add(name.path, this.#recordBytes)
    if (!(await this.#isForgotten(name))) return true
    this.#index.remove(name.path)
    await files.remove(name.path)
    return false
  }

  /** Whether the tenant's files were removed since the name was made. */
  async #isForgotten({ tenant, generation }: KvName): Promise<boolean> {
    const now = await this.#options.files.generationOf(tenant)
    if (now !== this.#generationOf(tenant)) {
      this.#generations.set(tenant, now)
      this.#index.removeTenant(tenant)
    }
    return now !== generation
  }

  async #makeRoom(): Promise<void> {
    const { limitBytes } = this.#options
    this.#bytesSinceLook += this.#recordBytes
    if (this.#bytesSinceLook > limitBytes / 8) await this.#look()
    await this.#removeAll(this.#index.shrink(limitBytes - this.#recordBytes))
  }

  /** Learn what is there, for other processes write too, and whether the disk has room. */
  async #look(): Promise<void> {
    const { files, limitBytes } = this.#options
    this.#bytesSinceLook = 0
    this.#index.replace(await files.list())
    await this.#removeAll(this.#index.shrink(limitBytes))
    const freeBytes = await files.freeBytes()
    if (freeBytes < RESERVE_BYTES) throw new Error(`${freeBytes} bytes are free on the disk`)
  }

  async #removeAll(paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.#options.files.remove(path)
  }

  #pause(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const wasPaused = this.#isPaused
    this.#pausedUntilMs = this.#options.clock.nowMs() + PAUSE_MS
    if (wasPaused) return
    const next = `requests go on, and nothing is written for ${PAUSE_MS / 1000} s`
    this.#options.onWarning(`disk cache of KV: writing failed (${reason}); ${next}`)
  }

  /** Null where there is nothing, or nothing yet: whoever waits must not wait for a disk that hangs. */
  async #readSome(keys: readonly KvKey[]): Promise<readonly (Bytes | null)[]> {
    const reads = Promise.all(keys.map((key) => this.#read(key)))
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), this.#options.patienceMs ?? PATIENCE_MS)
    })
    const some = await Promise.race([reads, late])
    clearTimeout(timer)
    if (some !== null) return some
    this.#unreadUntilMs = this.#options.clock.nowMs() + PAUSE_MS
    const next = `requests go on, and nothing is read for ${PAUSE_MS / 1000} s`
    this.#options.onWarning(`disk cache of KV: the disk does not answer; ${next}`)
    void reads.then((records) => {
      for (const record of records) if (record !== null) this.#spareRecord(record)
    })
    return keys.map(() => null)
  }

  /** D2. */
  async #read(key: KvKey): Promise<Bytes | null> {
    const { path, digest } = nameOf(key)
    const record = this.#spare.pop() ?? newRecord(this.#options.blockBytes)
    try {
      const numBytes = await this.#options.files.read(path, record)
      if (numBytes === this.#recordBytes && (await isWhole(record, digest))) return record
      if (numBytes >= 0) {
        this.#numBad += 1
        await this.#options.files.remove(path)
      }
    } catch {
      // D3: a file that cannot be read is not there; it is computed instead, and its number shows.
      this.#numBad += 1
    }
    this.#index.remove(path)
    this.#spareRecord(record)
    return null
  }

  /** The first block of a chain is the one used last, so that the chain's end goes first. */
  #touch(keys: readonly KvKey[]): void {
    const nowMs = this.#options.clock.wallMs()
    for (let index = keys.length - 1; index >= 0; index--) {
      const { path } = nameOf(keys[index] as KvKey)
      this.#index.touch(path)
      void this.#options.files.touch(path, nowMs - index)
    }
  }

  #spareRecord(record: Bytes): void {
    if ((this.#spare.length + 1) * this.#recordBytes <= MOST_PENDING_BYTES) this.#spare.push(record)
  }
}
