/**
 * Log probabilities in the three shapes that clients know: OpenAI's chat, OpenAI's old completions, vLLM's of prompts.
 *
 * Owns the running text offset of a choice (`CompletionLogprobs`). Does not know events.
 */

import type { TokenLogprob } from '../../../deployment/generation.ts'

/** OpenAI's stand-in for "very unlikely": JSON has no minus infinity. */
const LEAST_LOGPROB = -9999

interface ChatToken {
  readonly token: string
  readonly logprob: number
  readonly bytes: number[]
}

export interface ChatTokenLogprob extends ChatToken {
  readonly top_logprobs: readonly ChatToken[]
}

export function chatTokenLogprob(entry: TokenLogprob): ChatTokenLogprob {
  return { ...chatToken(entry), top_logprobs: entry.top.map(chatToken) }
}

export interface ChatLogprobs {
  readonly content: readonly ChatTokenLogprob[]
  readonly refusal: null
}

/** `null` when logprobs were not asked for. */
export function chatLogprobs(entries: readonly TokenLogprob[] | null): ChatLogprobs | null {
  return entries === null ? null : { content: entries.map(chatTokenLogprob), refusal: null }
}

export interface CompletionLogprobsBody {
  readonly text_offset: number[]
  readonly token_logprobs: (number | null)[]
  readonly tokens: string[]
  readonly top_logprobs: (Record<string, number> | null)[]
}

/** A prompt's first token: nothing comes before it that could predict it. */
export interface FirstToken {
  readonly firstToken: string
  /** False for a begin-of-text token that the tokenizer put before the text. */
  readonly isInText: boolean
}

/**
 * The old completions shape. Offsets count characters (code points) of the choice's text from its beginning, echoed
 * prompt included, as in vLLM; a token that begins inside a character has the offset behind it.
 */
export class CompletionLogprobs {
  #offset = 0

  /** Entries that follow those of earlier calls. */
  next(entries: readonly (TokenLogprob | FirstToken)[]): CompletionLogprobsBody {
    const body: CompletionLogprobsBody = {
      text_offset: [],
      token_logprobs: [],
      tokens: [],
      top_logprobs: [],
    }
    for (const entry of entries) {
      body.text_offset.push(this.#offset)
      if ('firstToken' in entry) {
        body.tokens.push(entry.firstToken)
        body.token_logprobs.push(null)
        body.top_logprobs.push(null)
        if (entry.isInText) this.#offset += numCharacters(Buffer.from(entry.firstToken))
        continue
      }
      body.tokens.push(tokenKey(entry))
      body.token_logprobs.push(finite(entry.logprob))
      body.top_logprobs.push(topByText(entry))
      this.#offset += numCharacters(entry.bytes)
    }
    return body
  }
}

/** The entry with at most `count` alternatives: the engine was asked for the larger of two wishes. */
export function withTop(entry: TokenLogprob, count: number): TokenLogprob {
  return entry.top.length <= count ? entry : { ...entry, top: entry.top.slice(0, count) }
}

/** vLLM's: one object a prompt token, token id → what is known of it; `null` for the first. */
export function promptLogprobs(entries: readonly (TokenLogprob | null)[]): (object | null)[] {
  return entries.map((entry) => {
    if (entry === null) return null
    const { logprob, rank, text } = entry
    const byId: Record<string, object> = {}
    byId[entry.tokenId] = { logprob: finite(logprob), rank, decoded_token: text }
    entry.top.forEach((one, index) => {
      byId[one.tokenId] ??= {
        logprob: finite(one.logprob),
        rank: index + 1,
        decoded_token: one.text,
      }
    })
    return byId
  })
}

function chatToken(entry: Pick<TokenLogprob, 'text' | 'bytes' | 'logprob'>): ChatToken {
  return { token: entry.text, logprob: finite(entry.logprob), bytes: [...entry.bytes] }
}

/** The alternatives and the token itself, by their text; of two that read the same, the likelier. */
function topByText(entry: TokenLogprob): Record<string, number> {
  const byText: Record<string, number> = {}
  for (const one of [...entry.top, entry]) {
    const key = tokenKey(one)
    const logprob = finite(one.logprob)
    if ((byText[key] ?? Number.NEGATIVE_INFINITY) < logprob) byText[key] = logprob
  }
  return byText
}

/** OpenAI's `bytes:\xe2\x80` for a token that is not text by itself, so that different ones stay different. */
function tokenKey({ text, bytes }: Pick<TokenLogprob, 'text' | 'bytes'>): string {
  if (!text.includes('\uFFFD') || Buffer.from(text).equals(bytes)) return text
  return `bytes:${[...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')}`
}

/** Characters that begin in these bytes: all but UTF-8's continuation bytes. */
function numCharacters(bytes: Uint8Array): number {
  let count = 0
  for (const byte of bytes) if ((byte & 0xc0) !== 0x80) count += 1
  return count
}

function finite(logprob: number): number {
  return Math.max(logprob, LEAST_LOGPROB)
}
