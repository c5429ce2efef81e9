/**
 * From a valid chat body to the canonical request. Pure but for the seed that it draws.
 * Refuses what it cannot hand on: other content than text, tool calls, fields that a message should not have.
 */

import type { ModelCard } from '../../../deployment/deployments.ts'
import type { ChatMessage, GenerationRequest } from '../../../deployment/generation.ts'
import { conflict, invalidValue, serverError, unknownParameter, unsupported } from '../../errors.ts'
import { describe } from '../../validation-error.ts'
import {
  type ChatBody,
  type ChatContentPart,
  type ChatMessageBody,
  EMPTY_MESSAGE_FIELDS,
} from './chat-schema.ts'
import { chatNeutralFields, refuseUnsupported } from './neutral-fields.ts'
import { translateSampling } from './sampling-translate.ts'

/** @throws ServingError naming the field */
export function translateChat(
  body: ChatBody,
  card: ModelCard,
  identity: Pick<GenerationRequest, 'id' | 'principal' | 'coldStartWaitMs'>,
): GenerationRequest {
  refuseUnsupported(body, chatNeutralFields)
  const limit = answerLimit(body)
  const sampling = translateSampling(body, {
    maxTokens: limit.value,
    maxTokensParam: limit.param,
    topLogprobs: topLogprobsOf(body),
    vocabSize: card.vocabSize,
  })
  return {
    ...identity,
    ...sampling,
    requestedModel: body.model,
    input: { kind: 'chat', messages: body.messages.map(translateMessage), tools: null },
  }
}

function answerLimit(body: ChatBody): { value: number | null; param: string } {
  const before = body.max_tokens ?? null
  const now = body.max_completion_tokens ?? null
  if (before !== null && now !== null && before !== now) {
    throw conflict('max_tokens', `it is ${before}, but max_completion_tokens is ${now}; send one`)
  }
  return now === null
    ? { value: before, param: 'max_tokens' }
    : { value: now, param: 'max_completion_tokens' }
}

function topLogprobsOf({ logprobs, top_logprobs }: ChatBody): number | null {
  if (logprobs === true) return top_logprobs ?? 0
  if ((top_logprobs ?? 0) > 0)
    throw conflict('top_logprobs', 'it is allowed only when logprobs is true')
  return null
}

function translateMessage(message: ChatMessageBody, index: number): ChatMessage {
  const at = `messages[${index}]`
  for (const name of EMPTY_MESSAGE_FIELDS) {
    const value = message[name] ?? null
    const isEmpty = value === null || (Array.isArray(value) && value.length === 0)
    if (!isEmpty) throw unsupported(`${at}.${name}`, 'null or an empty array')
  }
  const { role, name, tool_call_id: toolCallId } = message
  if (message.content === undefined || message.content === null) {
    throw serverError('SERVER_MISSING_PARAMETER', {
      param: `${at}.content`,
      details: { param: `${at}.content`, expected: 'a string or an array of text parts' },
    })
  }
  const isTool = role === 'tool'
  if (!isTool && typeof toolCallId === 'string') {
    throw conflict(`${at}.tool_call_id`, `it belongs to role tool, and the role is ${role}`)
  }
  return {
    role,
    content: textOf(message.content, `${at}.content`),
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof toolCallId === 'string' ? { toolCallId } : {}),
  }
}

/** Parts are joined by a line break, as vLLM and llama-server do for templates that read strings. */
function textOf(content: string | readonly ChatContentPart[], at: string): string {
  if (typeof content === 'string') return content
  return content.map((part, index) => textOfPart(part, `${at}[${index}]`)).join('\n')
}

function textOfPart(part: ChatContentPart, at: string): string {
  if (part.type !== 'text') {
    throw invalidValue(
      `${at}.type`,
      'text, because this server reads no other kind',
      'another type',
    )
  }
  if (typeof part.text !== 'string') {
    throw invalidValue(`${at}.text`, 'a string', describe(part.text))
  }
  const stranger = Object.keys(part).find((key) => key !== 'type' && key !== 'text')
  if (stranger !== undefined) throw unknownParameter(`${at}.${stranger}`)
  return part.text
}
