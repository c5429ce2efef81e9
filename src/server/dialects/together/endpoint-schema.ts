/**
 * Bodies of `POST /v1/endpoints` and `PATCH /v1/endpoints/{id}`: Together's fields under their names, and ours beside
 * them. Types and schemas, side by side; what they mean for an endpoint stands in `endpoint-translate.ts`.
 */

import { type TSchema, Type } from 'typebox'
import { WEIGHT_FORMATS, type WeightFormat } from '../../../base/weights-choice.ts'
import { NAME_EXPECTED, NAME_PATTERN } from '../../../deployment/endpoints/catalog-report.ts'
import { booleanField, type Fields, field, integerField, MAX_COUNT } from '../openai/fields.ts'

/** What both bodies may hold. */
export interface EndpointFields {
  readonly autoscaling?: { readonly min_replicas: number; readonly max_replicas: number } | null
  readonly display_name?: string | null
  readonly inactive_timeout?: number | null
  readonly state?: 'STARTED' | 'STOPPED' | null
  readonly weights?: readonly WeightFormat[] | null
  readonly digest?: string | null
  readonly kv_memory_bytes?: number | null
  readonly max_context_tokens?: number | null
  readonly max_sequences?: number | null
  readonly max_queue?: number | null
  readonly cold_start_wait_ms?: number | null
  readonly pinned?: boolean | null
}

export interface CreateEndpointBody extends EndpointFields {
  readonly model: string
  readonly hardware?: string | null
  readonly availability_zone?: string | null
  readonly disable_prompt_cache?: boolean | null
  readonly disable_speculative_decoding?: boolean | null
  readonly name?: string | null
  readonly type?: 'dedicated' | 'serverless' | null
}

export interface UpdateEndpointBody extends EndpointFields {
  readonly model?: string | null
}

export interface ListEndpointsQuery {
  readonly type?: 'dedicated' | 'serverless'
  readonly mine?: 'true' | 'false'
  readonly usage_type?: 'on-demand' | 'reserved'
}

export const MAX_REPLICAS = 64
/** Thirty days, as in a configuration file. */
const MAX_INACTIVE_MINUTES = 43_200
const MAX_WAIT_MS = 3_600_000
const MAX_BYTES = Number.MAX_SAFE_INTEGER

/** The one place there is. */
export const AVAILABILITY_ZONE = 'local'

function textField(expected: string, description: string, schema: object): TSchema {
  return Type.Optional(field(expected, description, { type: ['string', 'null'], ...schema }))
}

const replicas = (minimum: number, description: string): TSchema =>
  field(`an integer from ${minimum} to ${MAX_REPLICAS}`, description, {
    type: 'integer',
    minimum,
    maximum: MAX_REPLICAS,
  })

const model = field(
  'a catalog name, a path or a source (pypi:, hf:, https:, file:)',
  'Model, as ingot serve takes it.',
  { type: 'string', minLength: 1, maxLength: 1000 },
)

const commonFields: Fields = {
  autoscaling: Type.Optional(
    field('an object with min_replicas and max_replicas', 'Replicas. Default 1 and 1.', {
      type: ['object', 'null'],
      required: ['min_replicas', 'max_replicas'],
      additionalProperties: false,
      properties: {
        min_replicas: replicas(0, 'Kept without load; 0 lets the endpoint scale to zero.'),
        max_replicas: replicas(1, 'Under load at most.'),
      },
    }),
  ),
  display_name: textField('a string of 1 to 200 characters', 'Name for people.', {
    minLength: 1,
    maxLength: 200,
  }),
  inactive_timeout: integerField(
    0,
    MAX_INACTIVE_MINUTES,
    'Minutes without a request after which it gives up its memory; the next request brings it back. 0 or null: never. Default: dedicated never, serverless 10.',
  ),
  state: Type.Optional(
    field('STARTED or STOPPED', 'STOPPED endpoints refuse requests and hold no memory.', {
      enum: ['STARTED', 'STOPPED', null],
    }),
  ),
  weights: Type.Optional(
    field(
      `an array of 1 to ${WEIGHT_FORMATS.length} different formats of ${WEIGHT_FORMATS.join(', ')}`,
      'Ours: formats it may serve in, best first; memory and what a request allows decide which. Default ["source"].',
      {
        type: ['array', 'null'],
        minItems: 1,
        maxItems: WEIGHT_FORMATS.length,
        uniqueItems: true,
        items: { enum: WEIGHT_FORMATS },
      },
    ),
  ),
  digest: textField(
    'sha256: and 64 hex digits',
    'Ours: the only weights that may serve; null: whatever the source gives.',
    { pattern: '^sha256:[0-9a-f]{64}$' },
  ),
  kv_memory_bytes: integerField(2 ** 20, MAX_BYTES, 'Ours: KV memory of each replica.'),
  max_context_tokens: integerField(16, MAX_COUNT, 'Ours: prompt and answer together.'),
  max_sequences: integerField(1, 4096, 'Ours: sequences that run at once in a replica.'),
  max_queue: integerField(0, 1_000_000, 'Ours: sequences that may wait.'),
  cold_start_wait_ms: integerField(
    0,
    MAX_WAIT_MS,
    'Ours: how long a request waits for a cold endpoint; 0: 503 at once.',
  ),
  pinned: booleanField('Ours, serverless only: never unloaded to make room.'),
}

export const createEndpointSchema: TSchema = Type.Object(
  {
    model,
    ...commonFields,
    hardware: textField('an id of GET /v1/hardware', 'Cores of a replica. Default: shared out.', {
      maxLength: 200,
    }),
    availability_zone: Type.Optional(
      field(AVAILABILITY_ZONE, `Only ${AVAILABILITY_ZONE}: there is one machine.`, {
        enum: [AVAILABILITY_ZONE, null],
      }),
    ),
    disable_speculative_decoding: booleanField('True: no tokens are guessed. Default false.'),
    disable_prompt_cache: booleanField(
      'True: every prompt is computed from its beginning; answers are the same. Default false.',
    ),
    name: textField(
      NAME_EXPECTED,
      'Ours: name in requests. Default: the model’s, with eight random digits.',
      { pattern: NAME_PATTERN.source },
    ),
    type: Type.Optional(
      field('dedicated or serverless', 'Ours: dedicated (default) or serverless.', {
        enum: ['dedicated', 'serverless', null],
      }),
    ),
  },
  { additionalProperties: false },
)

export const updateEndpointSchema: TSchema = Type.Object(
  {
    ...commonFields,
    model: Type.Optional(
      field('a model or null', 'Ours: other weights, rolled out without losing a request.', {
        type: ['string', 'null'],
        minLength: 1,
        maxLength: 1000,
      }),
    ),
  },
  { additionalProperties: false, minProperties: 1 },
)

export const listEndpointsSchema: TSchema = Type.Object(
  {
    type: Type.Optional(
      field('dedicated or serverless', 'Only these.', { enum: ['dedicated', 'serverless'] }),
    ),
    mine: Type.Optional(
      field('true or false', 'All endpoints belong to whoever may see them.', {
        enum: ['true', 'false'],
      }),
    ),
    usage_type: Type.Optional(
      field('on-demand or reserved', 'None is reserved: they are listed under on-demand.', {
        enum: ['on-demand', 'reserved'],
      }),
    ),
  },
  { additionalProperties: false },
)
