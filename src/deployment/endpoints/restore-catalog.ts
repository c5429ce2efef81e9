/**
 * What is declared when a server starts: what the configuration file says, and what was created over the API and not
 * removed. Pure.
 *
 * The file is the truth for the names that it has; a change of such a name over the API lasts until the file is read
 * again. What was created over the API keeps its name: a file that takes it is refused, as it would be while running.
 *
 * I1 nothing that was created over the API is lost by a restart, and nothing that the file has dropped comes back.
 */

import { deploymentError } from '../errors.ts'
import { completeSpec } from './endpoint-defaults.ts'
import type { AliasSpec, EndpointCatalog, EndpointSpec } from './endpoint-spec.ts'
import type { CatalogChange } from './endpoints-admin.ts'

export interface RestoredCatalog {
  /** What was declared when the history ends; the difference to `after` is what the file changed meanwhile. */
  readonly before: EndpointCatalog
  readonly after: EndpointCatalog
  /** The record that made each endpoint and alias of `before`, by name. */
  readonly created: ReadonlyMap<string, CatalogChange>
}

/**
 * @param history - all of it, in order
 * @throws ServingError DEPLOYMENT_NAME_CREATED naming who created it when
 */
export function restoreCatalog(
  file: EndpointCatalog,
  history: readonly CatalogChange[],
): RestoredCatalog {
  const last = new Map<string, CatalogChange>()
  const created = new Map<string, CatalogChange>()
  for (const change of history) {
    if (change.after === null) {
      last.delete(change.name)
      created.delete(change.name)
    } else {
      last.set(change.name, change)
      if (change.before === null || !created.has(change.name)) created.set(change.name, change)
    }
  }
  const changes = [...last.values()]
  const own = changes.filter(({ origin }) => origin === 'api')
  const names = new Set([...file.endpoints, ...file.aliases].map(({ name }) => name))
  for (const { name } of own) {
    const maker = created.get(name)
    if (!names.has(name) || maker === undefined) continue
    const details = { name, who: maker.who, time: maker.time }
    throw deploymentError('DEPLOYMENT_NAME_CREATED', { param: name, details })
  }
  const { memoryBudgetBytes, maxConcurrentLoads } = file
  return {
    before: {
      memoryBudgetBytes,
      maxConcurrentLoads,
      endpoints: endpointsOf(changes),
      aliases: aliasesOf(changes),
    },
    after: {
      memoryBudgetBytes,
      maxConcurrentLoads,
      endpoints: [...file.endpoints, ...endpointsOf(own)],
      aliases: [...file.aliases, ...aliasesOf(own)],
    },
    created,
  }
}

function endpointsOf(changes: readonly CatalogChange[]): readonly EndpointSpec[] {
  return changes.flatMap(({ what, after }) =>
    what === 'endpoint' ? completeSpec(after as EndpointSpec) : [],
  )
}

function aliasesOf(changes: readonly CatalogChange[]): readonly AliasSpec[] {
  return changes.flatMap(({ what, after }) => (what === 'alias' ? (after as AliasSpec) : []))
}
