/** `ingot cache`: what the disk cache of prompts' keys and values holds, and its deletion. Works beside running servers. */

import { loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import type { StoreConfig } from '../config/runtime-config.ts'
import { forgetEverybody, forgetTenant, kvDiskUsage } from '../execution/kv-disk/forget-tenant.ts'
import { flagsOf } from './config-flags.ts'
import { cliError } from './errors.ts'

type Parsed = Readonly<Record<string, unknown>>

export async function listKvCache(parsed: Parsed): Promise<void> {
  const { folder, limitBytes } = kvDiskOf(parsed)
  const usage = await kvDiskUsage(folder)
  if (parsed.json === true) {
    process.stdout.write(`${JSON.stringify({ folder, limitBytes, ...usage }, null, 2)}\n`)
    return
  }
  const limit = limitBytes === 0 ? 'off' : `at most ${formatBytes(limitBytes)}`
  process.stdout.write(`${counted(usage)} in ${folder} (--kv-disk-cache ${limit})\n`)
}

/** @throws ServingError CLI_BAD_ARGUMENT unless it is said whose, or that all is meant */
export async function removeKvCache(parsed: Parsed): Promise<void> {
  const { folder } = kvDiskOf(parsed)
  const { principal, all } = parsed
  if ((typeof principal === 'string') === (all === true)) {
    const expected = 'either --principal with a name from the audit log, or --all'
    const got = all === true ? 'both' : 'neither'
    const next = 'say whose keys and values are to be deleted'
    throw cliError('CLI_BAD_ARGUMENT', {
      param: '--principal',
      details: { expected, got, next },
    })
  }
  if (typeof principal === 'string') {
    const removed = await forgetTenant(folder, principal)
    process.stdout.write(`removed ${counted(removed)} of ${principal}\n`)
    return
  }
  const removed = await forgetEverybody(folder)
  process.stdout.write(`removed ${counted(removed)}\n`)
}

function kvDiskOf(parsed: Parsed): StoreConfig['kvDisk'] {
  const configFile = parsed.config as string | undefined
  return loadConfig({ configFile, flags: flagsOf(parsed) }).config.store.kvDisk
}

function counted({ numFiles, bytes }: { numFiles: number; bytes: number }): string {
  return `${numFiles === 1 ? '1 block' : `${numFiles} blocks`}, ${formatBytes(bytes)}`
}
