/** Which tokens end an answer, as a GGUF file's tokenizer keys or a folder's configurations say. Knows no architecture. */

import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { modelError } from '../errors.ts'
import { type ConfigKeys, shown } from './config-keys.ts'

/** End of text, of turn, of message: whichever the model emits, its answer is over. */
const KEYS = ['eos_token_id', 'eot_token_id', 'eom_token_id']

/** Ascending, each once. @throws ServingError MODEL_BAD_METADATA for an id outside of the vocabulary */
export function ggufEosTokenIds(checkpoint: Checkpoint, vocabSize: number): readonly number[] {
  const ids = new Set<number>()
  for (const suffix of KEYS) {
    const key = `tokenizer.ggml.${suffix}`
    const value = checkpoint.metadata.get(key)
    if (value === undefined) continue
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= vocabSize) {
      const expected = `a token id from 0 to ${vocabSize - 1}`
      const file = checkpoint.files[0] ?? ''
      throw modelError('MODEL_BAD_METADATA', {
        details: { file, key, expected, got: shown(value) },
      })
    }
    ids.add(value)
  }
  return [...ids].sort((a, b) => a - b)
}

/**
 * Ascending, each once. What `generation_config.json` says goes before `config.json`, as in transformers.
 *
 * @throws ServingError MODEL_BAD_METADATA for an id outside of the vocabulary
 */
export function jsonEosTokenIds(keys: ConfigKeys, vocabSize: number): readonly number[] {
  const range = { least: 0, most: vocabSize - 1 }
  const own = keys.integers('eos_token_id', range)
  const generation = keys.child('generation_config')?.integers('eos_token_id', range)
  return [...new Set(generation ?? own ?? [])].sort((a, b) => a - b)
}
