/** The body of `POST /v1/completions`: type and schema, side by side. */

import { type TSchema, Type } from 'typebox'
import { booleanField, field, integerField, MAX_COUNT } from './fields.ts'
import { completionsNeutralFields, neutralSchema } from './neutral-fields.ts'
import { type SamplingBody, samplingFields } from './sampling-schema.ts'

export interface CompletionsBody extends SamplingBody {
  readonly prompt: string | readonly string[] | readonly number[] | readonly (readonly number[])[]
  readonly echo?: boolean | null
  readonly logprobs?: number | null
  readonly best_of?: number | null
}

/** OpenAI's limit; more can be had with chat's `top_logprobs`, or of prompts with `prompt_logprobs`. */
export const MAX_COMPLETION_LOGPROBS = 5
/** OpenAI's default of this route, which old clients count on. */
export const DEFAULT_MAX_TOKENS = 16

export function completionsBodySchema(maxPrompts: number): TSchema {
  const tokenIds = { type: 'array', minItems: 1, items: { type: 'integer', minimum: 0 } }
  const prompt = field(
    `a string, an array of token ids, or an array of 1 to ${maxPrompts} of either`,
    'Text to go on from, or several; also as token ids of this model.',
    {
      anyOf: [
        { type: 'string' },
        { type: 'array', minItems: 1, maxItems: maxPrompts, items: { type: 'string' } },
        tokenIds,
        { type: 'array', minItems: 1, maxItems: maxPrompts, items: tokenIds },
      ],
    },
  )
  const properties = {
    ...samplingFields,
    prompt,
    max_tokens: integerField(
      0,
      MAX_COUNT,
      `Tokens of each answer at most; 0 with echo scores the prompt alone. Default ${DEFAULT_MAX_TOKENS}.`,
    ),
    echo: booleanField('Begin each answer with its prompt. Default false.'),
    logprobs: integerField(
      0,
      MAX_COMPLETION_LOGPROBS,
      'Report log probabilities with this many alternatives; with echo also of the prompt.',
    ),
    best_of: integerField(1, 128, 'Must equal n: every answer is returned.'),
    ...neutralSchema(completionsNeutralFields),
  }
  return Type.Object(properties, { additionalProperties: false })
}
