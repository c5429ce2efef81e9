/**
 * A small SentencePiece vocabulary with everything that makes ids hard to get right: equal scores, pieces that overlap,
 * bytes, control, user-defined and unused tokens, and tokens whose texts contain each other.
 */

import type { MetadataValue } from '../../src/checkpoint/checkpoint.ts'

const BYTES = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
)

/** Text, score, type. */
const PIECES: readonly (readonly [text: string, score: number, type: number])[] = [
  ['<unk>', 0, 2],
  ['<s>', 0, 3],
  ['</s>', 0, 3],
  ...BYTES.map((text) => [text, 0, 6] as const),
  ['▁', -1, 1],
  ['▁▁', -2, 1],
  ['▁▁▁▁', -3, 1],
  ['a', -20, 1],
  ['b', -20, 1],
  ['c', -20, 1],
  // Equal scores: the leftmost pair is merged, whatever its id.
  ['bc', -5, 1],
  ['ab', -5, 1],
  ['abc', -6, 1],
  ['aab', -6, 1],
  ['▁a', -5, 1],
  ['▁ab', -4, 1],
  ['ca', -5.5, 1],
  ['é', -20, 1],
  ['你', -20, 1],
  ['你好', -7, 1],
  ['-0', -0, 1],
  ['-', -20, 1],
  ['0', -20, 1],
  ['\n', 0, 4],
  ['\n\n', 0, 4],
  ['  ', -1000, 4],
  ['<t>', -1000, 4],
  ['<t>a', -1000, 4],
  ['a<t', -1000, 4],
  ['cab', 100, 5],
  ['<|end|>', -1000, 3],
  ['<|endoftext|>', -1000, 3],
]

export function sentencePieceMetadata(
  changes: Readonly<Record<string, MetadataValue>> = {},
): Map<string, MetadataValue> {
  return new Map<string, MetadataValue>(
    Object.entries({
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': PIECES.map(([text]) => text),
      'tokenizer.ggml.scores': PIECES.map(([, score]) => score),
      'tokenizer.ggml.token_type': PIECES.map(([, , type]) => type),
      ...changes,
    }),
  )
}
