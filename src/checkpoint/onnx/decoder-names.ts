/**
 * What a decoder's inputs and outputs are called: by convention in Optimum's and onnx-community's folders, by the table
 * in `genai_config.json` in those of onnxruntime-genai. `%d` stands for the layer. Knows no graph.
 */

import type { MetadataValue } from '../checkpoint.ts'
import { errorAt } from '../errors.ts'

export interface DecoderNames {
  readonly tokenIds: string
  readonly attentionMask: string
  readonly positionIds: string
  readonly useCacheBranch: string
  /** Several spellings of one meaning. */
  readonly numLogits: readonly string[]
  readonly pastKey: string
  readonly pastValue: string
  readonly logits: string
  readonly presentKey: string
  readonly presentValue: string
}

/** Optimum's and transformers.js's; genai's defaults are the same. */
export const CONVENTIONAL_NAMES: DecoderNames = {
  tokenIds: 'input_ids',
  attentionMask: 'attention_mask',
  positionIds: 'position_ids',
  useCacheBranch: 'use_cache_branch',
  numLogits: ['num_logits_to_keep', 'logits_to_keep'],
  pastKey: 'past_key_values.%d.key',
  pastValue: 'past_key_values.%d.value',
  logits: 'logits',
  presentKey: 'present.%d.key',
  presentValue: 'present.%d.value',
}

type Table = ReadonlyMap<string, MetadataValue>

/** Entries of the two tables that are understood, and the name each one sets. */
const INPUTS = {
  input_ids: 'tokenIds',
  attention_mask: 'attentionMask',
  position_ids: 'positionIds',
  past_key_names: 'pastKey',
  past_value_names: 'pastValue',
} as const
const OUTPUTS = {
  logits: 'logits',
  present_key_names: 'presentKey',
  present_value_names: 'presentValue',
} as const

/**
 * @param decoder - `model.decoder` of `genai_config.json`
 * @throws ServingError CHECKPOINT_BAD_FIELD for an entry that is not understood
 */
export function genaiNames(file: string, decoder: Table): DecoderNames {
  const inputs = readTable(file, decoder.get('inputs'), 'inputs', INPUTS)
  const outputs = readTable(file, decoder.get('outputs'), 'outputs', OUTPUTS)
  return { ...CONVENTIONAL_NAMES, ...inputs, ...outputs }
}

function readTable(
  file: string,
  table: MetadataValue | undefined,
  name: string,
  known: Readonly<Record<string, keyof DecoderNames>>,
): Partial<DecoderNames> {
  const field = `model.decoder.${name}`
  const place = { file, offset: 0, next: 'this runtime does not feed it; export the decoder anew' }
  if (table === undefined) return {}
  if (!(table instanceof Map)) {
    const got = 'another value'
    throw errorAt('CHECKPOINT_BAD_FIELD', { ...place, field, expected: 'a table of names', got })
  }
  const names: [string, string][] = []
  for (const [key, value] of table as Table) {
    const target = Object.hasOwn(known, key) ? known[key] : undefined
    if (target === undefined) {
      const expected = `one of ${Object.keys(known).join(', ')}`
      throw errorAt('CHECKPOINT_BAD_FIELD', { ...place, field, expected, got: shown(key) })
    }
    const isPattern = key.endsWith('_names')
    if (typeof value !== 'string' || value === '' || isPattern !== value.includes('%d')) {
      const expected = isPattern ? 'a name with %d for the layer' : 'a name'
      const got = shown(value)
      throw errorAt('CHECKPOINT_BAD_FIELD', { ...place, field: `${field}.${key}`, expected, got })
    }
    names.push([target, value])
  }
  return Object.fromEntries(names)
}

function shown(value: MetadataValue): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : typeof value
}
