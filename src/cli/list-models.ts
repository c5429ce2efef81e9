/** `ingot ls`: what the catalog knows and what the store holds. Standard output gets a table, or JSON. */

import { loadConfig } from '../config/load-config.ts'
import { formatBytes } from '../config/option.ts'
import type { StoreConfig } from '../config/runtime-config.ts'
import { packUsage } from '../execution/pack-cache.ts'
import { sourceText } from '../store/source.ts'
import { flagsOf } from './config-flags.ts'
import { type ModelAccess, openModelAccess } from './model-access.ts'

interface Row {
  readonly name: string
  readonly isStored: boolean
  readonly sizeBytes: number
  readonly digest: string
  readonly source: string
  readonly isDefault: boolean
}

export async function listModels(parsed: Readonly<Record<string, unknown>>): Promise<void> {
  const configFile = parsed.config as string | undefined
  const { config } = loadConfig({ configFile, flags: flagsOf(parsed) })
  const access = await openModelAccess(config.store)
  try {
    const rows = await collect(access)
    if (parsed.json === true) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
    else {
      const packs = await packsLine(config.store.packs)
      process.stdout.write(`${table(rows, config.store.home)}\n${packs}\n`)
    }
  } finally {
    await access.store.close()
  }
}

async function collect({ catalog, store }: ModelAccess): Promise<readonly Row[]> {
  const stored = new Map((await store.list()).map((model) => [model.source, model]))
  const rows: Row[] = []
  for (const { id, source, sizeBytes, sha256, isDefault } of catalog.entries.values()) {
    const text = sourceText(source)
    const model = stored.get(text)
    stored.delete(text)
    const isStored = model?.digest === sha256
    rows.push({
      name: id,
      isStored,
      sizeBytes,
      digest: `sha256:${sha256}`,
      source: text,
      isDefault,
    })
  }
  for (const { source, sizeBytes, digest } of stored.values()) {
    rows.push({
      name: source,
      isStored: true,
      sizeBytes,
      digest: `sha256:${digest}`,
      source,
      isDefault: false,
    })
  }
  return rows
}

/** What the cache of packed weights takes; it may be deleted at any time. */
async function packsLine({ folder, limitBytes }: StoreConfig['packs']): Promise<string> {
  const { numFiles, bytes } = await packUsage(folder)
  const files = numFiles === 1 ? '1 file' : `${numFiles} files`
  return `Packed weights: ${files}, ${formatBytes(bytes)} of at most ${formatBytes(limitBytes)} in ${folder}`
}

function table(rows: readonly Row[], home: string): string {
  const cells = rows.map(({ name, isStored, sizeBytes, digest, isDefault }) => [
    isDefault ? `${name} (default)` : name,
    isStored ? 'stored' : 'not fetched',
    formatBytes(sizeBytes),
    digest.slice('sha256:'.length, 'sha256:'.length + 12),
  ])
  const lines = [['MODEL', 'STATE', 'SIZE', 'SHA256'], ...cells]
  const widths = [0, 1, 2].map((column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  const text = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return [...text, '', `Store: ${home}`].join('\n')
}
