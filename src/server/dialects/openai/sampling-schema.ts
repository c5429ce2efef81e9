/**
 * The parameters that chat and plain completions share, as they come over the wire. Schema and type stand side by side
 * and say the same. Does not know what they mean inside; that is `sampling-translate.ts`.
 */

import { Type } from 'typebox'
import { MAX_TOP_LOGPROBS } from '../../../sampling/sampling-params.ts'
import { MAX_LOGIT_BIAS_ENTRIES } from '../../../sampling/validate-sampling-params.ts'
import { booleanField, type Fields, field, integerField, MAX_COUNT, numberField } from './fields.ts'
import { type ProviderBody, providerField } from './provider-schema.ts'
import { SERVICE_TIER_NAMES, type ServiceTierName } from './service-tiers.ts'

export interface SamplingBody {
  readonly model: string
  readonly stream?: boolean | null
  readonly stream_options?: {
    include_usage?: boolean | null
    include_obfuscation?: boolean | null
  } | null
  readonly temperature?: number | null
  readonly top_p?: number | null
  readonly top_k?: number | null
  readonly min_p?: number | null
  readonly presence_penalty?: number | null
  readonly frequency_penalty?: number | null
  readonly repetition_penalty?: number | null
  readonly seed?: number | string | null
  readonly n?: number | null
  readonly max_tokens?: number | null
  readonly min_tokens?: number | null
  readonly ignore_eos?: boolean | null
  readonly stop?: string | readonly string[] | null
  readonly logit_bias?: Readonly<Record<string, number>> | null
  readonly return_token_ids?: boolean | null
  readonly prompt_logprobs?: number | null
  readonly cache_salt?: string | null
  readonly prompt_cache_key?: string | null
  readonly service_tier?: ServiceTierName | null
  readonly max_queue_ms?: number | null
  readonly provider?: ProviderBody | null
}

export const MAX_STOP_STRINGS = 4
const MAX_CHOICES = 128
const MAX_CACHE_SALT_LENGTH = 1024
const MAX_CACHE_KEY_LENGTH = 1024
/** Ten minutes: longer than any client waits. */
const MAX_QUEUE_MS = 600_000

const stopString = { type: 'string', minLength: 1 }

/** `max_tokens` is not among them: its least value and its default differ between the routes. */
export const samplingFields: Fields = {
  model: field('the name of a model', 'Id or alias of a served model.', { type: 'string' }),
  stream: booleanField('Send the answer as server-sent events while it is generated.'),
  stream_options: Type.Optional(
    field('an object with include_usage', 'Only with stream.', {
      type: ['object', 'null'],
      additionalProperties: false,
      properties: {
        include_usage: booleanField('Send token counts in a last chunk without choices.'),
        include_obfuscation: booleanField('Must not be true: chunks are not padded.'),
      },
    }),
  ),
  temperature: numberField(
    0,
    2,
    'Flattens (above 1) or sharpens the distribution; 0 = greedy. Default 1.',
  ),
  top_p: numberField(
    0,
    1,
    'Draw from the most likely tokens that together have this probability. Default 1.',
  ),
  top_k: integerField(
    -1,
    MAX_COUNT,
    'Draw from this many most likely tokens; 0 or -1 = off. Default 0.',
  ),
  min_p: numberField(
    0,
    1,
    'Drop tokens below this share of the most likely one’s probability. Default 0.',
  ),
  presence_penalty: numberField(
    -2,
    2,
    'Subtracted from tokens that were generated before. Default 0.',
  ),
  frequency_penalty: numberField(
    -2,
    2,
    'Subtracted for each time that a token was generated. Default 0.',
  ),
  repetition_penalty: numberField(
    0.01,
    100,
    'Divides the logits of tokens of prompt and answer; 1 = off. Default 1.',
  ),
  seed: Type.Optional(
    field(
      'an integer of 64 bits; beyond 2^53 as a decimal string, because JSON numbers lose digits there',
      'The same seed, prompt and parameters give the same answer. Drawn by the server when left out.',
      { type: ['integer', 'string', 'null'] },
    ),
  ),
  n: integerField(1, MAX_CHOICES, 'Answers to generate for each prompt. Default 1.'),
  min_tokens: integerField(0, MAX_COUNT, 'Tokens before which the answer cannot end. Default 0.'),
  ignore_eos: booleanField('Go on past the end-of-sequence token. Default false.'),
  stop: Type.Optional(
    field(
      `a string or an array of at most ${MAX_STOP_STRINGS} strings, none empty`,
      'Texts that end the answer; the match is left out.',
      {
        anyOf: [
          stopString,
          { type: 'array', maxItems: MAX_STOP_STRINGS, items: stopString },
          { type: 'null' },
        ],
      },
    ),
  ),
  logit_bias: Type.Optional(
    field(
      `an object of at most ${MAX_LOGIT_BIAS_ENTRIES} token ids with numbers from -100 to 100`,
      'Added to the logits of these token ids.',
      {
        type: ['object', 'null'],
        maxProperties: MAX_LOGIT_BIAS_ENTRIES,
        propertyNames: { pattern: '^(0|[1-9][0-9]{0,9})$' },
        additionalProperties: { type: 'number', minimum: -100, maximum: 100 },
      },
    ),
  ),
  return_token_ids: booleanField(
    'Add prompt_token_ids and token_ids to each choice. Default false.',
  ),
  prompt_logprobs: integerField(
    0,
    MAX_TOP_LOGPROBS,
    'Log probabilities of the prompt’s tokens, with this many alternatives; not with stream.',
  ),
  service_tier: Type.Optional(
    field(
      `one of ${SERVICE_TIER_NAMES.join(', ')}`,
      'Who goes first when not all can: priority (performance), default (auto, on_demand), flex.',
      { enum: [...SERVICE_TIER_NAMES, null] },
    ),
  ),
  max_queue_ms: integerField(
    0,
    MAX_QUEUE_MS,
    'Milliseconds that the request may wait before it is computed; refused with 429 when it would be or was longer.',
  ),
  provider: providerField,
  cache_salt: Type.Optional(
    field(
      `a string of 1 to ${MAX_CACHE_SALT_LENGTH} characters`,
      'Only requests of the same caller with the same salt share cached prompt beginnings.',
      { type: ['string', 'null'], minLength: 1, maxLength: MAX_CACHE_SALT_LENGTH },
    ),
  ),
  prompt_cache_key: Type.Optional(
    field(
      `a string of at most ${MAX_CACHE_KEY_LENGTH} characters`,
      'Requests of one caller with one key go to the same replica where they can, for its cached prompts.',
      { type: ['string', 'null'], maxLength: MAX_CACHE_KEY_LENGTH },
    ),
  ),
}
