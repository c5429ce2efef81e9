/** What is told of an adapter on its base: the base's card under the adapter's name, with digests that say both. Pure. */

import type { ModelCard } from '../deployments.ts'
import { digestOf } from '../serving-config-digest.ts'
import type { AdapterFacts } from './adapter-table.ts'

export function adapterCard(base: ModelCard, adapter: AdapterFacts): ModelCard {
  const { name, digest, created } = adapter
  return {
    ...base,
    id: `${base.id}:${name}`,
    aliases: base.aliases.map((alias) => `${alias}:${name}`),
    created,
    servingConfigDigest: digestOf({ adapter: digest, base: base.servingConfigDigest }),
    adapter: { name, digest, parent: base.id },
  }
}
