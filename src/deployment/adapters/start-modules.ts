/** The adapters that the configuration names, loaded as the server starts. A start with one that cannot be is refused. */

import type { AdaptersConfig } from '../../config/runtime-config.ts'
import type { Adapters } from './adapters.ts'
import { splitAdapterName } from './adapters.ts'
import { adapterError } from './errors.ts'

/**
 * Resolves when every replica that runs holds them; endpoints that are cold load them when they start.
 *
 * @param endpoints - that are served
 * @throws ServingError ADAPTER_*, and what is wrong with the first adapter's files
 */
export async function loadModules(
  adapters: Adapters,
  { modules }: Pick<AdaptersConfig, 'modules'>,
  endpoints: readonly string[],
): Promise<void> {
  for (const { name, folder } of modules) {
    const { base, adapter } = baseOf(name, endpoints)
    await adapters.of(base).load(adapter, folder)
  }
}

function baseOf(name: string, endpoints: readonly string[]) {
  const parts = splitAdapterName(name)
  if (parts !== null && endpoints.includes(parts.base)) return parts
  const [only, ...others] = endpoints
  if (parts === null && only !== undefined && others.length === 0) {
    return { base: only, adapter: name }
  }
  const served = endpoints.join(', ') || 'none'
  const details = { name, served, example: `${only ?? 'base'}:adapter` }
  throw adapterError('ADAPTER_NO_BASE', { param: '--lora-modules', details })
}
