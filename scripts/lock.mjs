/**
 * A lock file that survives its holder's death: it carries the holder's pid, and a dead holder's lock is taken over.
 * For processes of one machine and one user; knows nothing of what it guards.
 */

import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 100
const STALE_TAKEOVER_MS = 10_000

/**
 * Run `work` while holding `path`; waits as long as another living process holds it.
 *
 * @param {string} path
 * @param {(pid: number) => void} onWait - called once when another process holds the lock
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 * @template T
 */
export async function withLock(path, onWait, work) {
  await mkdir(dirname(path), { recursive: true })
  let hasWaited = false
  while (!(await take(path))) {
    const holder = await holderOf(path)
    if (holder !== null && !isAlive(holder)) {
      await removeDead(path, holder)
      continue
    }
    if (!hasWaited && holder !== null) onWait(holder)
    hasWaited = true
    await sleep(POLL_MS)
  }
  try {
    return await work()
  } finally {
    await rm(path, { force: true })
  }
}

async function take(path) {
  // The pid is written to a private file first: a lock that exists always names its holder.
  const draft = `${path}.${randomUUID()}`
  const handle = await open(draft, 'wx')
  try {
    await handle.writeFile(String(process.pid))
    await link(draft, path)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    await handle.close()
    await rm(draft, { force: true })
  }
}

/** `null` when the lock was released meanwhile. */
async function holderOf(path) {
  try {
    return Number(await readFile(path, 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/**
 * Only who holds the takeover file removes a lock, and only after reading again under it: a lock that another waiter has
 * taken meanwhile is never removed.
 */
async function removeDead(path, deadPid) {
  const takeover = `${path}.takeover`
  if (!(await take(takeover))) {
    const { mtimeMs } = (await statOf(takeover)) ?? { mtimeMs: Date.now() }
    // Held for microseconds, so an old one is that of a process that died with it.
    if (Date.now() - mtimeMs > STALE_TAKEOVER_MS) await rm(takeover, { force: true })
    await sleep(POLL_MS)
    return
  }
  try {
    if ((await holderOf(path)) === deadPid) await rm(path, { force: true })
  } finally {
    await rm(takeover, { force: true })
  }
}

async function statOf(path) {
  try {
    return await stat(path)
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}
