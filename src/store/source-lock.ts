/**
 * One process at a time fetches a source: a lock file that names its holder and shows that the holder lives.
 *
 * Owns the lock file while held. Knows nothing of what is guarded.
 * I1: a lock file appears with its content (written aside, then linked), so a reader never sees half a holder.
 * I2: a lock is broken only when its process is gone, or has not touched it for `STALE_MS` (stopped, or another
 *     machine's on a shared disk); breaking renames first, so of two breakers one wins.
 * A lock broken wrongly costs a second download, never a wrong file: blobs are published by rename, after their digest;
 * and the history of endpoints, which is locked so too, refuses to go on after a line that somebody else wrote.
 */

import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { ioFailure, reasonOf, storeError } from './errors.ts'

const TOUCH_MS = 5_000
const STALE_MS = 60_000
const POLL_MS = 200

export interface LockOptions {
  readonly file: string
  /** For the message. */
  readonly source: string
  /** Wait at most so long for another holder that is alive, milliseconds. */
  readonly patienceMs: number
  readonly signal: AbortSignal
  /** Called once when there is something to wait for. */
  readonly onWait: () => void
}

/** Nonces of the locks that this process holds. */
const heldHere = new Set<string>()

interface Holder {
  readonly pid: number
  readonly host: string
  readonly nonce: string
}

/**
 * Take the lock, waiting for its holder.
 *
 * @returns a function that gives it back; never throws
 * @throws ServingError STORE_LOCKED when patience ends, STORE_IO; the signal's reason
 */
export async function takeLock(options: LockOptions): Promise<() => Promise<void>> {
  const { file, signal, patienceMs, onWait, source } = options
  const me: Holder = { pid: process.pid, host: hostname(), nonce: randomNonce() }
  const start = performance.now()
  for (let numPolls = 0; ; numPolls++) {
    signal.throwIfAborted()
    if (await create(file, me)) return holdLock(file, me)
    const holder = await readHolder(file)
    if (holder === undefined) continue
    if (await isStale(file, holder)) {
      await breakLock(file, holder)
      continue
    }
    const waitedMs = performance.now() - start
    if (waitedMs >= patienceMs) {
      const { pid, host } = holder
      const details = { source, pid, host, seconds: Math.round(waitedMs / 1000) }
      throw storeError('STORE_LOCKED', { details })
    }
    if (numPolls === 0) onWait()
    await sleep(POLL_MS)
  }
}

function holdLock(file: string, me: Holder): () => Promise<void> {
  heldHere.add(me.nonce)
  const timer = setInterval(() => {
    const now = new Date()
    // A touch that fails makes the lock look stale after a minute, which is what it then is.
    utimes(file, now, now).catch(() => undefined)
  }, TOUCH_MS)
  timer.unref()
  return async () => {
    clearInterval(timer)
    heldHere.delete(me.nonce)
    const holder = await readHolder(file).catch(() => undefined)
    // Broken meanwhile: the file is another one's.
    if (holder?.nonce === me.nonce) await rm(file, { force: true }).catch(() => undefined)
  }
}

async function create(file: string, me: Holder): Promise<boolean> {
  const aside = `${file}.${me.nonce}`
  try {
    await writeFile(aside, JSON.stringify(me), { flag: 'wx' })
    await link(aside, file)
    return true
  } catch (error) {
    if (reasonOf(error) === 'EEXIST') return false
    throw ioFailure(error, file, 'locking')
  } finally {
    await rm(aside, { force: true })
  }
}

/** `undefined`: nobody holds it any more. */
async function readHolder(file: string): Promise<Holder | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return undefined
    throw ioFailure(error, file, 'reading')
  }
  try {
    const { pid, host, nonce } = JSON.parse(text) as Partial<Holder>
    return { pid: Number(pid), host: String(host), nonce: String(nonce) }
  } catch {
    // Not written by us (I1): no process to ask for, so only its age can free it.
    return { pid: 0, host: '', nonce: '' }
  }
}

async function isStale(file: string, holder: Holder): Promise<boolean> {
  if (holder.host === hostname() && !isHeld(holder)) return true
  try {
    const { mtimeMs } = await stat(file)
    return Date.now() - mtimeMs > STALE_MS
  } catch (error) {
    if (reasonOf(error) === 'ENOENT') return false
    throw ioFailure(error, file, 'looking at it')
  }
}

function isHeld({ pid, nonce }: Holder): boolean {
  // In a container every start may have the same number, so a number of our own proves nothing.
  return pid === process.pid ? heldHere.has(nonce) : isAlive(pid)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: there is such a process, of another user.
    return reasonOf(error) === 'EPERM'
  }
}

async function breakLock(file: string, stale: Holder): Promise<void> {
  const aside = `${file}.${randomNonce()}.stale`
  try {
    await rename(file, aside)
    const taken = await readHolder(aside)
    // Someone broke it and took it between our look and our rename: give it back.
    if (taken !== undefined && taken.nonce !== stale.nonce) await link(aside, file)
  } catch (error) {
    const reason = reasonOf(error)
    if (reason !== 'ENOENT' && reason !== 'EEXIST') throw ioFailure(error, file, 'unlocking')
  } finally {
    await rm(aside, { force: true })
  }
}

function randomNonce(): string {
  return `${process.pid}-${Math.random().toString(36).slice(2)}`
}
