/**
 * From a Hugging Face folder that has only `tokenizer.model` to a tokenizer description: BPE with scores, as Llama,
 * Mistral and Gemma are. Other kinds of SentencePiece are refused with the command that makes `tokenizer.json`.
 *
 * Owns nothing. Source: huggingface/transformers, `convert_slow_tokenizer.py`, for what `tokenizer_config.json` adds.
 */

import { endsByText } from './end-tokens.ts'
import { textError } from './errors.ts'
import { TOKEN_TYPE } from './gguf-vocabulary.ts'
import { badJson, type JsonObject, optionalFlag, parseObject } from './hf-json.ts'
import { readAddedTokensDecoder, readChatTemplates, readSpecialTexts } from './hf-special-tokens.ts'
import { readSentencePieceModel, type SentencePieceModel } from './sentencepiece-model.ts'
import type { TokenizerDescription } from './tokenizer-description.ts'

export interface SentencePieceFiles {
  /** Bytes of `tokenizer.model`. */
  readonly model: Buffer
  /** For the message that says how to convert it. */
  readonly folder: string
  readonly tokenizerConfig?: string
  readonly specialTokensMap?: string
  readonly endTokenIds?: readonly number[]
}

const BPE = 2
const KINDS: Readonly<Record<number, string>> = { 1: 'Unigram', 3: 'words', 4: 'characters' }

/** @throws ServingError TEXT_BAD_TOKENIZER, TEXT_NEEDS_TOKENIZER_JSON */
export function describeSentencePieceModel(files: SentencePieceFiles): TokenizerDescription {
  const model = readSentencePieceModel(files.model)
  refuseOthers(model, files.folder)
  const config = parse(files.tokenizerConfig, 'tokenizer_config.json')
  const map = parse(files.specialTokensMap, 'special_tokens_map.json')
  const vocabulary = withAddedTokens(model, config)
  const { tokens, types } = vocabulary
  const textAt = (id: number) => (id >= 0 ? tokens[id] : undefined)
  const own = {
    bos_token: textAt(model.beginId) ?? null,
    eos_token: textAt(model.endId) ?? null,
    unk_token: textAt(model.unknownId) ?? null,
    pad_token: textAt(model.padId) ?? null,
  }
  const specialTokens = readSpecialTexts(config, map, own)
  const idOf = (text: string | undefined): number | null => {
    const id = text === undefined ? -1 : tokens.indexOf(text)
    return id < 0 ? null : id
  }
  const bosTokenId = idOf(specialTokens.bos_token)
  const eosTokenId = idOf(specialTokens.eos_token)
  const unknownId = idOf(specialTokens.unk_token)
  const addsBos = optionalFlag(config, 'add_bos_token') ?? true
  const addsEos = optionalFlag(config, 'add_eos_token') ?? false
  const control = types.flatMap((type, id) => (type === TOKEN_TYPE.control ? [id] : []))
  const ends = new Set([
    ...(files.endTokenIds ?? []),
    ...(eosTokenId === null ? [] : [eosTokenId]),
    ...endsByText(control.map((id) => [tokens[id] as string, id] as const)),
  ])
  return {
    model: {
      kind: 'sentencePiece',
      pieces: {
        tokens,
        scores: vocabulary.scores,
        kinds: Uint8Array.from(types),
        spacePrefix: spacePrefix(model, config),
        ...(addsBos && bosTokenId !== null ? { beginId: bosTokenId } : {}),
        ...(addsEos && eosTokenId !== null ? { endId: eosTokenId } : {}),
        ...(unknownId === null ? {} : { unknownId }),
        rightStrippingIds: [],
      },
    },
    addedTokens: new Map(control.map((id) => [tokens[id] as string, id])),
    preTokenizer: 'tokenizer.model',
    bosTokenId,
    eosTokenId,
    eotTokenId: null,
    endTokenIds: [...ends].sort((a, b) => a - b),
    specialTokens,
    chatTemplates: readChatTemplates(config.chat_template),
  }
}

function parse(text: string | undefined, file: string): JsonObject {
  return text === undefined ? {} : parseObject(text, file)
}

function refuseOthers(model: SentencePieceModel, folder: string): void {
  const reasons = [
    ...(model.modelType === BPE ? [] : [`it is SentencePiece ${KINDS[model.modelType] ?? '?'}`]),
    ...(model.charsMapBytes === 0 ? [] : ['it normalises characters']),
    ...(model.removesExtraSpaces ? ['it removes spaces'] : []),
    ...(model.escapesSpaces ? [] : ['it keeps spaces as they are']),
  ]
  if (reasons.length === 0) return
  const details = { folder, reason: reasons.join(' and ') }
  throw textError('TEXT_NEEDS_TOKENIZER_JSON', { details })
}

/** As `legacy` says: transformers' first Llama tokenizer put a space behind every special token, which was a mistake. */
function spacePrefix(model: SentencePieceModel, config: JsonObject) {
  if (!(optionalFlag(config, 'add_prefix_space') ?? model.addsDummyPrefix)) return 'never'
  return optionalFlag(config, 'legacy') === false ? 'first' : 'afterTokens'
}

/** The model's pieces, and behind them what `tokenizer_config.json` adds; ids follow each other. */
function withAddedTokens(model: SentencePieceModel, config: JsonObject) {
  const tokens = model.tokens.map((token, id) =>
    // User-defined ones are found in the text before its spaces are escaped.
    model.types[id] === TOKEN_TYPE.userDefined ? token.replaceAll('▁', ' ') : token,
  )
  const types = [...model.types]
  const scores = [...model.scores]
  const added = [...readAddedTokensDecoder(config.added_tokens_decoder)]
  for (const { id, content, isSpecial } of added.sort((a, b) => a.id - b.id)) {
    if (id > tokens.length) {
      throw badJson('added_tokens_decoder', `ids that follow ${tokens.length - 1}`, id)
    }
    const type = isSpecial ? TOKEN_TYPE.control : TOKEN_TYPE.userDefined
    // Whatever the model calls unknown stays that, so that it is what unknown characters become.
    if (types[id] !== TOKEN_TYPE.unknown) types[id] = type
    scores[id] ??= 0
    tokens[id] = content
  }
  return { tokens, types, scores: Float32Array.from(scores) }
}
