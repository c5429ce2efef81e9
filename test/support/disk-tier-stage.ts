/** Disk caches in a folder of a test's own, with time that stands still and blocks that say what they are. */

import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KvKey } from '../../src/engine/kv-tier.ts'
import { DiskTier, type DiskTierOptions } from '../../src/execution/kv-disk/disk-tier.ts'
import { openKvFiles } from '../../src/execution/kv-disk/kv-files.ts'
import { configurationFolder } from '../../src/execution/kv-disk/kv-name.ts'
import { HEADER_BYTES } from '../../src/execution/kv-disk/kv-record.ts'
import { ManualClock } from './manual-clock.ts'

export const BLOCK_BYTES = 1000
export const FILE_BYTES: number = HEADER_BYTES + BLOCK_BYTES
export const DOMAIN: Int32Array = Int32Array.of(1, 2, 3, 4)
const BLOCK_TOKENS = 4

/** Beside files that have the calendar's times. */
class CalendarClock extends ManualClock {
  override wallMs(): number {
    return Date.now() + this.nowMs()
  }
}

export class DiskTierStage {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'ingot-kv-'))
  readonly clock: ManualClock = new CalendarClock()
  readonly warnings: string[] = []

  open(change: Partial<DiskTierOptions> = {}): Promise<DiskTier> {
    return DiskTier.open({
      files: openKvFiles(this.folder),
      limitBytes: 100 * FILE_BYTES,
      blockBytes: BLOCK_BYTES,
      configuration: configurationFolder({ model: 'm' }),
      clock: this.clock,
      onWarning: (message) => this.warnings.push(message),
      ...change,
    })
  }

  /** Files below the folder, with their sizes, in order of their names. */
  files(): { path: string; bytes: number }[] {
    return readdirSync(this.folder, { recursive: true, encoding: 'utf8' })
      .map((path) => ({ path, stats: statSync(join(this.folder, path)) }))
      .filter(({ stats }) => stats.isFile())
      .map(({ path, stats }) => ({ path, bytes: stats.size }))
      .sort((a, b) => (a.path < b.path ? -1 : 1))
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Names of the first `numBlocks` blocks of a text that begins with `text`. */
export function chain(
  tier: DiskTier,
  numBlocks: number,
  { tenant = 'alice', domain = DOMAIN, text = 0 } = {},
): KvKey[] {
  const tokenIds = Int32Array.from(
    { length: numBlocks * BLOCK_TOKENS },
    (_, index) => text * 1000 + index,
  )
  const keys: KvKey[] = []
  for (let block = 0; block < numBlocks; block++) {
    const parent = keys.at(-1) ?? tier.root(tenant, domain)
    const [first, end] = [block * BLOCK_TOKENS, (block + 1) * BLOCK_TOKENS]
    keys.push(tier.child(parent, tokenIds, first, end))
  }
  return keys
}

export function contentOf(value: number, bytes: number = BLOCK_BYTES): Uint8Array {
  const period = Uint8Array.from({ length: 256 }, (_, index) => value + index * 7)
  const content = new Uint8Array(bytes)
  for (let at = 0; at < bytes; at += period.length) content.set(period.subarray(0, bytes - at), at)
  return content
}

/** Save blocks, the last one first, as the pool gives them up. @returns how many the tier copied */
export function saveAll(tier: DiskTier, keys: readonly KvKey[], first = 0): number {
  let numCopied = 0
  for (let index = keys.length - 1; index >= 0; index--) {
    tier.save(keys[index] as KvKey, (into) => {
      numCopied += 1
      into.set(contentOf(first + index, into.length))
    })
  }
  return numCopied
}

/** Which of the blocks, from the first on, come back whole. */
export async function loadAll(
  tier: DiskTier,
  keys: readonly KvKey[],
  first = 0,
): Promise<boolean[]> {
  const blocks = await tier.load(keys)
  const found = blocks.map((block, index) =>
    Buffer.from(block).equals(contentOf(first + index, block.length)),
  )
  tier.giveBack(blocks)
  return found
}
