/**
 * What `tokenizer_config.json` says of begin and end tokens, written into `tokenizer.json`, where the library looks.
 *
 * Owns nothing. The flags replace what the file does around a text, both when one of them is there, as in transformers:
 * `add_bos_token: false` takes a begin token away.
 * Source: huggingface/transformers 5, `TokenizersBackend.update_post_processor`.
 */

export interface Surroundings {
  readonly beginText: string | null
  readonly endText: string | null
  /** Id of each of these texts. */
  readonly idOf: (text: string) => number | null
}

type JsonObject = Readonly<Record<string, unknown>>

/** @returns `tokenizer.json`'s `post_processor` */
export function postProcessor({ beginText, endText, idOf }: Surroundings): JsonObject {
  const begin = pieceOf(beginText)
  const end = pieceOf(endText)
  const texts = [...new Set([beginText, endText])].filter((text) => text !== null)
  const sequence = (id: 'A' | 'B') => ({ Sequence: { id, type_id: 0 } })
  return {
    type: 'TemplateProcessing',
    single: [...begin, sequence('A'), ...end],
    pair: [...begin, sequence('A'), ...end, ...begin, sequence('B'), ...end],
    special_tokens: Object.fromEntries(
      texts.map((text) => [text, { id: text, ids: [idOf(text)], tokens: [text] }]),
    ),
  }
}

function pieceOf(text: string | null): readonly JsonObject[] {
  return text === null ? [] : [{ SpecialToken: { id: text, type_id: 0 } }]
}

/** Whether a `post_processor` already puts exactly these texts around a single text, so that nothing must be written. */
export function alreadySurrounds(
  value: unknown,
  { beginText, endText }: Pick<Surroundings, 'beginText' | 'endText'>,
): boolean {
  const wanted = [beginText, 'A', endText].filter((text) => text !== null)
  return JSON.stringify(piecesAround(value)) === JSON.stringify(wanted)
}

/** Ids of the pieces of a single text, or nothing for a kind that is not read here. */
function piecesAround(value: unknown): readonly unknown[] | undefined {
  if (value === null || value === undefined) return ['A']
  const { type, single, processors } = value as Record<string, unknown>
  if (type === 'ByteLevel') return ['A']
  if (type === 'Sequence' && Array.isArray(processors)) {
    const last = processors.filter((part) => (part as JsonObject | null)?.type !== 'ByteLevel')
    return last.length > 1 ? undefined : piecesAround(last[0])
  }
  if (type !== 'TemplateProcessing' || !Array.isArray(single)) return undefined
  return single.map((piece) => {
    const { SpecialToken: token, Sequence: sequence } = (piece ?? {}) as Record<string, unknown>
    return ((token ?? sequence ?? {}) as JsonObject).id
  })
}
