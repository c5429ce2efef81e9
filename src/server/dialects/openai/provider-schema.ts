/**
 * OpenRouter's `provider` object: where a request may be served. Type and schema, side by side; what each field means
 * here stands in `provider-translate.ts`. Shared by chat and plain completions.
 */

import { type TSchema, Type } from 'typebox'
import { QUANTIZATIONS, type Quantization } from '../../../deployment/endpoints/endpoint-spec.ts'
import { booleanField, field } from './fields.ts'

export interface ProviderBody {
  readonly order?: readonly string[] | null
  readonly only?: readonly string[] | null
  readonly ignore?: readonly string[] | null
  readonly quantizations?: readonly Quantization[] | null
  readonly allow_fallbacks?: boolean | null
  readonly require_parameters?: boolean | null
  readonly data_collection?: 'allow' | 'deny' | null
  readonly zdr?: boolean | null
  readonly sort?: string | null
  readonly [key: string]: unknown
}

const MAX_NAMES = 64
const MAX_NAME_LENGTH = 200

function namesField(minItems: number, description: string): TSchema {
  const items = { type: 'string', minLength: 1, maxLength: MAX_NAME_LENGTH }
  const expected = `an array of ${minItems} to ${MAX_NAMES} names of endpoints`
  const schema = { type: ['array', 'null'], minItems, maxItems: MAX_NAMES, items }
  return Type.Optional(field(expected, description, schema))
}

/** Known to OpenRouter and decided by what this server does not know: refused by name, whatever they say. */
export const UNSUPPORTED_PROVIDER_FIELDS = [
  'max_price',
  'preferred_min_throughput',
  'preferred_max_latency',
  'enforce_distillable_text',
] as const

const unsupportedFields = Object.fromEntries(
  UNSUPPORTED_PROVIDER_FIELDS.map((name) => [
    name,
    Type.Optional(field('null', 'Only null: nothing here could honour it.', {})),
  ]),
)

export const providerField: TSchema = Type.Optional(
  field('an object such as {"quantizations": ["int8"]}', 'Where the request may be served.', {
    type: ['object', 'null'],
    additionalProperties: false,
    properties: {
      order: namesField(0, 'Endpoints to try first, in this order; "ingot" = all.'),
      only: namesField(1, 'No other endpoints than these; "ingot" = all.'),
      ignore: namesField(0, 'Endpoints that may not serve.'),
      quantizations: Type.Optional(
        field(
          `an array of ${QUANTIZATIONS.join(', ')}, at least one`,
          'Formats of weights that may serve.',
          {
            type: ['array', 'null'],
            minItems: 1,
            maxItems: QUANTIZATIONS.length,
            items: { enum: QUANTIZATIONS },
          },
        ),
      ),
      allow_fallbacks: booleanField(
        'False: only the first choice (with order, only what it names), or an error. Default true.',
      ),
      require_parameters: booleanField(
        'Either way nothing is ignored: a parameter that is not honoured is refused.',
      ),
      data_collection: Type.Optional(
        field(
          'allow or deny',
          'deny: only endpoints that keep nothing of requests. Default allow.',
          {
            enum: ['allow', 'deny', null],
          },
        ),
      ),
      zdr: booleanField('True: only endpoints that keep nothing of requests.'),
      sort: Type.Optional(
        field('throughput', 'throughput: the fastest measured first.', {
          enum: ['throughput', null],
        }),
      ),
      ...unsupportedFields,
    },
  }),
)
