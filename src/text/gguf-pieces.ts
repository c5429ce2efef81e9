/**
 * The SentencePiece vocabulary of a GGUF file (`tokenizer.ggml.model` = `llama`) in the form that the native tokenizer
 * takes. Owns nothing. Source: llama.cpp, `src/llama-vocab.cpp`, for defaults.
 */

import type { NativePieces } from '../../native/binding.ts'
import { badField, flagAt, type GgufMetadata, numbersAt, textAt } from './gguf-fields.ts'
import { type GgufVocabulary, idsOfTypes, type SpecialIds, TOKEN_TYPE } from './gguf-vocabulary.ts'

const SCORES = 'tokenizer.ggml.scores'
const EXTRA_SPACES = 'tokenizer.ggml.remove_extra_whitespaces'

/** @throws ServingError TEXT_BAD_TOKENIZER */
export function readPieces(
  metadata: GgufMetadata,
  vocabulary: GgufVocabulary,
  ids: SpecialIds,
): NativePieces {
  const { tokens, types } = vocabulary
  const flag = (name: string) => flagAt(metadata, `tokenizer.ggml.${name}`)
  if (flagAt(metadata, EXTRA_SPACES) === true) {
    // No converter writes it for this kind, and llama.cpp would ignore it.
    throw badField(EXTRA_SPACES, 'false', 'true')
  }
  const scores = Float32Array.from(
    numbersAt(metadata, SCORES, tokens.length) ?? new Float32Array(tokens.length),
  )
  const at = scores.findIndex(Number.isNaN)
  if (at >= 0) throw badField(SCORES, 'numbers', `NaN for token ${at}`)
  return {
    tokens,
    scores,
    kinds: Uint8Array.from(types),
    spacePrefix: (flag('add_space_prefix') ?? true) ? 'afterTokens' : 'never',
    ...(ids.bos !== null && (flag('add_bos_token') ?? true) ? { beginId: ids.bos } : {}),
    ...(ids.eos !== null && flag('add_eos_token') === true ? { endId: ids.eos } : {}),
    ...(ids.unknown === null ? {} : { unknownId: ids.unknown }),
    rightStrippingIds: rightStrippingIds(metadata, vocabulary),
  }
}

/**
 * Phi-3's `tokenizer.json` lets its tokens take the white space behind them, which GGUF cannot say; the model's name has
 * to.
 */
function rightStrippingIds(metadata: GgufMetadata, vocabulary: GgufVocabulary): readonly number[] {
  const name = (textAt(metadata, 'general.name') ?? '').toLowerCase()
  if (!name.includes('phi-3') && !name.includes('phi3')) return []
  const { control, unknown, userDefined } = TOKEN_TYPE
  const keeping = ['<unk>', '<s>', '<|endoftext|>']
  const ids = idsOfTypes(vocabulary, [control, unknown, userDefined])
  return ids.filter((id) => !keeping.includes(vocabulary.tokens[id] as string))
}
