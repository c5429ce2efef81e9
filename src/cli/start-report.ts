/** What `ingot serve` prints at start: the model and every setting, each with its reason. Makes text, prints nothing. */

import { type DescribedLine, describe } from '../config/describe.ts'
import { formatBytes } from '../config/option.ts'
import { OPTIONS } from '../config/options.ts'
import type { Choice } from '../config/runtime-config.ts'
import type { ModelCard } from '../deployment/deployments.ts'
import type { EngineDescription } from '../worker/messages.ts'

/** Lines of the plan replace lines of the configuration that say `auto`. */
export function mergeChoices(
  config: readonly Choice[],
  plan: readonly Choice[],
): readonly Choice[] {
  const decided = new Map(plan.map((choice) => [choice.key, choice]))
  return config.map((choice) => decided.get(choice.key) ?? choice)
}

export interface StartFacts {
  readonly version: string
  readonly card: ModelCard
  readonly source: string
  readonly sizeBytes: number
  readonly kernels: string
  readonly kernelsReason: string
  readonly quantizationReason: string
  readonly choices: readonly Choice[]
}

export function startReport(facts: StartFacts): string {
  const { card, choices } = facts
  const names = [card.id, ...card.aliases].join(', ')
  const lines: DescribedLine[] = [
    { name: 'model', value: names, reason: facts.source },
    {
      name: 'digest',
      value: card.digest.slice(0, 26),
      reason: `${formatBytes(facts.sizeBytes)}, verified`,
    },
    { name: 'quantization', value: card.quantization, reason: facts.quantizationReason },
    { name: 'kernels', value: facts.kernels, reason: facts.kernelsReason },
    ...settingLines(choices),
  ]
  return `Ingot ${facts.version}\n${describe(lines)}`
}

/** A line a setting. */
export function settingLines(choices: readonly Choice[]): DescribedLine[] {
  return choices.flatMap(({ key, value, reason }) => {
    const { flag, kind } = OPTIONS[key]
    if (flag !== null) return [{ name: flagName(flag), value, reason }]
    // Without a flag it is the model itself, which the first line says, or a secret.
    return kind === 'secret' ? [{ name: 'admin-token', value, reason }] : []
  })
}

/** What loading was. */
const HELD_AS = { mapped: 'mapped', packed: 'packed and kept', memory: 'loaded' } as const

export function readyLine(address: string, description: EngineDescription): string {
  const { loadMs, weightsBytes, weightsHeldAs, numBlocks, blockSize } = description
  const tokens = (numBlocks * blockSize).toLocaleString('en')
  return [
    `ready on ${address}`,
    `weights ${formatBytes(weightsBytes)} ${HELD_AS[weightsHeldAs]} in ${(loadMs / 1000).toFixed(2)} s`,
    `room for ${tokens} tokens`,
  ].join(', ')
}

/** `--kv-memory <size>` → `kv-memory` */
function flagName(flag: string): string {
  return flag.replace(/^--(\S+).*$/, '$1')
}
