/** What `ingot config` prints. Makes text, prints nothing. */

import type { ServingError } from '../../base/errors.ts'
import { describe } from '../../config/describe.ts'
import { formatBytes } from '../../config/option.ts'
import type { RuntimeConfig } from '../../config/runtime-config.ts'
import type {
  AliasSpec,
  EndpointCatalog,
  EndpointSpec,
} from '../../deployment/endpoints/endpoint-spec.ts'

/** One a line, as compilers do, so that editors find the place. */
export function problemLines(problems: readonly ServingError[]): string {
  return problems.map(({ message, code }) => `${message} [${code}]`).join('\n')
}

/** What the file decides; settings that it leaves alone are not repeated. */
export function checkReport(path: string, config: RuntimeConfig, catalog: EndpointCatalog): string {
  const { endpoints, aliases } = catalog
  const written = config.choices.filter(({ origin }) => origin !== 'default' && origin !== 'auto')
  const counts = [
    plural(written.length, 'setting'),
    plural(endpoints.length, 'endpoint'),
    plural(aliases.length, 'alias', 'aliases'),
  ]
  const settings = written.map(({ key, value, reason }) => ({ name: key, value, reason }))
  const tables = [settings.length === 0 ? [] : [describe(settings)], catalogTables(catalog)].flat()
  return [`${path} is well: ${counts.join(', ')}`, ...tables].join('\n\n')
}

export function showReport(config: RuntimeConfig, catalog: EndpointCatalog): string {
  const settings = config.choices.map(({ key, value, reason }) => ({ name: key, value, reason }))
  return [describe(settings), ...catalogTables(catalog)].join('\n\n')
}

function catalogTables(catalog: EndpointCatalog): readonly string[] {
  const { memoryBudgetBytes, maxConcurrentLoads, endpoints, aliases } = catalog
  if (endpoints.length === 0 && aliases.length === 0) return []
  const budget = memoryBudgetBytes === null ? 'auto' : formatBytes(memoryBudgetBytes)
  const pool = `pool: memory budget ${budget}, ${plural(maxConcurrentLoads, 'load')} at a time`
  const header = [
    'ENDPOINT',
    'MODE',
    'STATE',
    'REPLICAS',
    'VARIANTS',
    'UNUSED',
    'REGION',
    'RETENTION',
  ]
  const rows = endpoints.map(endpointRow)
  const tables = [pool, table([header, ...rows])]
  if (aliases.length > 0)
    tables.push(table([['ALIAS', 'TARGETS', 'POLICY'], ...aliases.map(aliasRow)]))
  return tables
}

function endpointRow(endpoint: EndpointSpec): readonly string[] {
  const { name, mode, state, variants, autoscaling, inactiveTimeoutMs, region } = endpoint
  const { minReplicas, maxReplicas } = autoscaling
  const names = variants.map((one) => `${one.name} (${one.source})`).join(', ')
  const unused = inactiveTimeoutMs === null ? 'stays' : `${inactiveTimeoutMs / 1000}s`
  return [
    name,
    endpoint.isPinned ? `${mode}, pinned` : mode,
    state,
    `${minReplicas}-${maxReplicas}`,
    names,
    unused,
    region ?? '-',
    endpoint.retention,
  ]
}

function aliasRow(alias: AliasSpec): readonly string[] {
  const { quantizations, revision, region, retention } = alias
  const policy = [
    alias.allowFallbacks ? [] : ['no fallbacks'],
    quantizations === null ? [] : [quantizations.join(' or ')],
    revision === 'pinned' ? ['pinned revisions'] : [],
    region === null ? [] : [`region ${region}`],
    retention === null ? [] : [`retention ${retention}`],
  ].flat()
  return [alias.name, alias.targets.join(' → '), policy.join(', ') || 'any']
}

function table(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  return lines
    .map((line) =>
      `  ${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
    )
    .join('\n')
}

function plural(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
