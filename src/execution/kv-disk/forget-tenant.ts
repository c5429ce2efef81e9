/**
 * Deletes what a tenant has in the cache. Any process may do it, also while engines run: they find the mark before they
 * write a block of that tenant's, and again afterwards, and keep nothing that was computed before it was made.
 *
 *   mark ──▶ remove        an engine that has not seen the mark had its file in place before, so it is removed here
 *
 * What an engine still has in memory serves the same tenant until it is evicted, or the engine ends.
 */

import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ALL_TENANTS, FORGOTTEN, type KvFile, openKvFiles } from './kv-files.ts'
import { tenantFolder } from './kv-name.ts'

export interface KvUsage {
  readonly numFiles: number
  readonly bytes: number
}

/** @returns what was removed */
export async function forgetTenant(folder: string, principal: string): Promise<KvUsage> {
  const tenant = tenantFolder(principal)
  await mark(folder, tenant)
  const files = (await openKvFiles(folder).list()).filter((file) => tenantOf(file) === tenant)
  await removeTenant(folder, tenant)
  return usageOf(files)
}

/** The same for everybody's data, of all models. */
export async function forgetEverybody(folder: string): Promise<KvUsage> {
  await mark(folder, ALL_TENANTS)
  const files = await openKvFiles(folder).list()
  for (const tenant of new Set(files.map(tenantOf))) await removeTenant(folder, tenant)
  return usageOf(files)
}

async function removeTenant(folder: string, tenant: string): Promise<void> {
  for (const configuration of await readdir(folder)) {
    if (configuration === FORGOTTEN) continue
    await rm(join(folder, configuration, tenant), { recursive: true, force: true, maxRetries: 3 })
  }
}

function tenantOf({ path }: KvFile): string {
  return path.split('/')[1] ?? ''
}

function usageOf(files: readonly KvFile[]): KvUsage {
  return { numFiles: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) }
}

async function mark(folder: string, tenant: string): Promise<void> {
  await mkdir(join(folder, FORGOTTEN), { recursive: true, mode: 0o700 })
  const path = join(folder, FORGOTTEN, tenant)
  // Whoever reads it finds the former one or this one whole.
  const part = `${path}.${process.pid}.part`
  await writeFile(part, randomUUID(), { mode: 0o600 })
  await rename(part, path)
}

/** Files in a folder that need not be there. */
export async function kvDiskUsage(folder: string): Promise<KvUsage> {
  return usageOf(await openKvFiles(folder).list())
}
