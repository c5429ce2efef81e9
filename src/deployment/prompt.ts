/**
 * From a request's input to the token ids that the engine computes, and the check that they fit. Never truncates.
 * Knows the text room's tokenizer and template; knows no dialect.
 */

import type { ChatTemplate } from '../text/chat-template.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import { checkKnownToModel } from '../text/vocabulary-check.ts'
import { deploymentError } from './errors.ts'
import type { GenerationInput } from './generation.ts'

export interface Prompt {
  readonly tokenIds: Int32Array
  /** `null` when the request gave ids. */
  readonly text: string | null
}

export interface PromptTools {
  readonly tokenizer: Pick<Tokenizer, 'encode' | 'tokenText'>
  readonly template: Pick<ChatTemplate, 'render'>
  /** Rows of the model's output; ids of the request must be below. */
  readonly vocabSize: number
}

/**
 * @throws ServingError REQUEST_EMPTY_PROMPT, REQUEST_TOKEN_OUT_OF_RANGE, or the text room's
 *
 * Cost: a short text is encoded on the event loop, a long one on libuv's threads.
 */
export async function makePrompt(input: GenerationInput, tools: PromptTools): Promise<Prompt> {
  const prompt = await encode(input, tools)
  if (prompt.tokenIds.length === 0) {
    throw deploymentError('REQUEST_EMPTY_PROMPT', { param: paramOf(input) })
  }
  return prompt
}

/**
 * The most tokens that the answer may have.
 *
 * @param maxTokens - `null` = as many as the context leaves
 * @throws ServingError REQUEST_CONTEXT_TOO_LONG
 */
export function answerLimit(
  input: GenerationInput,
  numPromptTokens: number,
  maxTokens: number | null,
  maxContextTokens: number,
): number {
  const left = maxContextTokens - numPromptTokens
  if (left >= (maxTokens ?? 1)) return maxTokens ?? left
  const answer = maxTokens === null ? '' : ` and ${maxTokens} of answer`
  throw deploymentError('REQUEST_CONTEXT_TOO_LONG', {
    // When the prompt alone is too long, asking for fewer tokens would not help.
    param: left < 1 ? paramOf(input) : 'maxTokens',
    details: { maxContextTokens, promptTokens: numPromptTokens, answer },
  })
}

async function encode(input: GenerationInput, tools: PromptTools): Promise<Prompt> {
  if (input.kind === 'tokens') {
    return { text: null, tokenIds: checkTokenIds(input.tokenIds, tools.vocabSize) }
  }
  const { tokenizer, template, vocabSize } = tools
  const isChat = input.kind === 'chat'
  const text = isChat
    ? template.render({ messages: input.messages, tools: input.tools })
    : input.text
  // A chat's template writes begin and end tokens itself.
  const tokenIds = await tokenizer.encode(text, { addSpecialTokens: !isChat })
  const tokenText = (id: number) => tokenizer.tokenText(id)
  checkKnownToModel(tokenIds, vocabSize, { param: paramOf(input), tokenText })
  return { text, tokenIds }
}

function checkTokenIds(tokenIds: readonly number[], vocabSize: number): Int32Array {
  for (const [position, tokenId] of tokenIds.entries()) {
    if (Number.isInteger(tokenId) && tokenId >= 0 && tokenId < vocabSize) continue
    throw deploymentError('REQUEST_TOKEN_OUT_OF_RANGE', {
      param: 'prompt',
      details: { maxTokenId: vocabSize - 1, got: String(tokenId), position },
    })
  }
  return Int32Array.from(tokenIds)
}

function paramOf(input: GenerationInput): string {
  return input.kind === 'chat' ? 'messages' : 'prompt'
}
