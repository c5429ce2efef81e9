/** What `ingot bench quality` says: the record, and its table for a terminal. Pure. */

import { formatBytes } from '../../config/option.ts'
import type { VariantResult } from './measure-variants.ts'

/** Everything that somebody needs to compare two records, or to run one again. */
export interface QualityRecord {
  readonly kind: 'ingot-quality'
  readonly version: string
  readonly ortVersion: string
  readonly kernels: string
  readonly date: string
  readonly machine: string
  readonly threads: number
  readonly model: string
  readonly digest: string
  readonly checkpointBytes: number
  readonly stored: string
  readonly text: string
  readonly textDigest: string
  /** Tokens whose successor was predicted, and those that were read. */
  readonly predictedTokens: number
  readonly inputTokens: number
  readonly contextTokens: number
  readonly batch: 1
  readonly cacheState: 'empty at every window'
  readonly prefillTokens: number
  /** Computed one at a time; nothing is drawn, the tokens are the text's. */
  readonly decodeTokens: number
  readonly rounds: number
  readonly reference: string
  readonly variants: readonly VariantResult[]
}

export const COLUMNS: readonly [title: string, cell: (result: VariantResult) => string][] = [
  ['VARIANT', ({ variant }) => variant],
  ['COMPUTES IN', ({ computesIn }) => computesIn],
  ['ON DISK', ({ weightsBytes }) => formatBytes(weightsBytes)],
  ['MEMORY', ({ memoryBytes }) => formatBytes(memoryBytes)],
  ['PERPLEXITY', ({ perplexity }) => perplexity.toFixed(3)],
  ['MEAN KL', ({ meanKl }) => klText(meanKl)],
  ['P99 KL', ({ p99Kl }) => klText(p99Kl)],
  [
    'TOP-1',
    ({ topAgreement }) => (topAgreement === null ? '–' : `${(100 * topAgreement).toFixed(2)} %`),
  ],
  ['PREFILL', ({ prefillTokensPerSecond }) => `${prefillTokensPerSecond.toFixed(0)} tok/s`],
  ['DECODE', ({ decodeTokensPerSecond }) => `${decodeTokensPerSecond.toFixed(1)} tok/s`],
]

export function qualityTable(record: QualityRecord): string {
  const lines = [COLUMNS.map(([title]) => title)]
  for (const variant of record.variants) lines.push(COLUMNS.map(([, cell]) => cell(variant)))
  const widths = COLUMNS.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  )
  const table = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return [...table, '', ...conditions(record).map((line) => `  ${line}`)].join('\n')
}

/** In sentences, for the table's foot and the page's head. */
export function conditions(record: QualityRecord): readonly string[] {
  const { inputTokens, contextTokens, predictedTokens, prefillTokens, decodeTokens } = record
  return [
    `${record.model}, sha256 ${record.digest}, ${formatBytes(record.checkpointBytes)} stored as ${record.stored}`,
    `text ${record.text}, sha256 ${record.textDigest.slice(0, 16)}…: ${inputTokens} tokens in windows of ${contextTokens}, ${predictedTokens} of them predicted, cache empty at every window, batch 1`,
    `KL in nats to ${record.reference}, over the whole vocabulary; memory: weights and KV of one window`,
    `speed: ${prefillTokens} tokens in, then ${decodeTokens} one at a time, batch 1, empty cache, median of ${record.rounds} rounds`,
    `Ingot ${record.version}, ONNX Runtime ${record.ortVersion}, kernels ${record.kernels}, ${record.threads} threads, ${record.machine}, ${record.date}`,
  ]
}

function klText(kl: number | null): string {
  if (kl === null) return '–'
  return kl === 0 ? '0' : kl < 1e-3 ? kl.toExponential(2) : kl.toFixed(5)
}
