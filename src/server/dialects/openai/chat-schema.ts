/** The body of `POST /v1/chat/completions`: type and schema, side by side. */

import { type TSchema, Type } from 'typebox'
import { MAX_TOP_LOGPROBS } from '../../../sampling/sampling-params.ts'
import { booleanField, field, integerField, MAX_COUNT } from './fields.ts'
import { chatNeutralFields, neutralSchema } from './neutral-fields.ts'
import { type SamplingBody, samplingFields } from './sampling-schema.ts'

export interface ChatContentPart {
  readonly type: string
  readonly [key: string]: unknown
}

export interface ChatMessageBody {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool'
  readonly content?: string | readonly ChatContentPart[] | null
  readonly name?: string | null
  readonly tool_call_id?: string | null
  readonly [key: string]: unknown
}

export interface ChatBody extends SamplingBody {
  readonly messages: readonly ChatMessageBody[]
  readonly max_completion_tokens?: number | null
  readonly logprobs?: boolean | null
  readonly top_logprobs?: number | null
}

/** What OpenAI's own answers carry and clients send back; accepted when empty, see `chat-translate.ts`. */
export const EMPTY_MESSAGE_FIELDS = [
  'refusal',
  'annotations',
  'audio',
  'tool_calls',
  'function_call',
] as const

const emptyFields = Object.fromEntries(
  EMPTY_MESSAGE_FIELDS.map((name) => [
    name,
    Type.Optional(field('null or empty', 'Only null or empty.', {})),
  ]),
)

const message = field('an object with role and content', 'One turn of the conversation.', {
  type: 'object',
  required: ['role'],
  additionalProperties: false,
  properties: {
    role: field('one of system, developer, user, assistant, tool', 'Who speaks.', {
      enum: ['system', 'developer', 'user', 'assistant', 'tool'],
    }),
    content: Type.Optional(
      field('a string or an array of text parts', 'Text, or parts of type text.', {
        anyOf: [
          { type: 'string' },
          {
            type: 'array',
            minItems: 1,
            items: { type: 'object', required: ['type'], properties: { type: { type: 'string' } } },
          },
          { type: 'null' },
        ],
      }),
    ),
    name: Type.Optional(
      field('a string', 'Handed to the chat template.', { type: ['string', 'null'] }),
    ),
    tool_call_id: Type.Optional(
      field('a string', 'Of role tool: the call that this answers.', { type: ['string', 'null'] }),
    ),
    ...emptyFields,
  },
})

export function chatBodySchema(maxMessages: number): TSchema {
  const properties = {
    ...samplingFields,
    messages: field(`an array of 1 to ${maxMessages} messages`, 'The conversation so far.', {
      type: 'array',
      minItems: 1,
      maxItems: maxMessages,
      items: message,
    }),
    max_tokens: integerField(1, MAX_COUNT, 'Old name of max_completion_tokens.'),
    max_completion_tokens: integerField(
      1,
      MAX_COUNT,
      'Tokens of each answer at most. Default: as many as the context leaves.',
    ),
    logprobs: booleanField('Report the log probability of each generated token. Default false.'),
    top_logprobs: integerField(0, MAX_TOP_LOGPROBS, 'With logprobs: alternatives per token.'),
    ...neutralSchema(chatNeutralFields),
  }
  return Type.Object(properties, { additionalProperties: false })
}
