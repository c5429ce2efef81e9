/** Aliases: list, get, set, remove, and the append-only history of each. */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import { NAME_EXPECTED, NAME_PATTERN } from '../../../deployment/endpoints/catalog-report.ts'
import {
  type AliasSpec,
  QUANTIZATIONS,
  type Quantization,
} from '../../../deployment/endpoints/endpoint-spec.ts'
import type { Administration } from '../../administration.ts'
import { invalidValue, serverError } from '../../errors.ts'
import { snakeCase } from '../../snake-case.ts'
import { booleanField, field } from '../openai/fields.ts'
import { changeView, listOf } from './admin-views.ts'

interface ByName {
  readonly Params: { readonly name: string }
}

interface AliasBody {
  readonly targets: readonly string[]
  readonly allow_fallbacks?: boolean | null
  readonly quantizations?: readonly Quantization[] | null
  readonly revision?: AliasSpec['revision'] | null
  readonly region?: string | null
  readonly retention?: AliasSpec['retention']
}

const MAX_TARGETS = 32
const name = { type: 'string', minLength: 1, maxLength: 200 }

const aliasSchema = Type.Object(
  {
    targets: field(
      `an array of 1 to ${MAX_TARGETS} names of endpoints`,
      'Endpoints in order of preference; any but the first is a fallback.',
      { type: 'array', minItems: 1, maxItems: MAX_TARGETS, uniqueItems: true, items: name },
    ),
    allow_fallbacks: booleanField('Whether others than the first may serve. Default true.'),
    quantizations: Type.Optional(
      field(
        `an array of 1 to ${QUANTIZATIONS.length} different formats of ${QUANTIZATIONS.join(', ')}`,
        'Serve only variants of these formats. Default: all.',
        {
          type: ['array', 'null'],
          minItems: 1,
          maxItems: QUANTIZATIONS.length,
          uniqueItems: true,
          items: { enum: QUANTIZATIONS },
        },
      ),
    ),
    revision: Type.Optional(
      field('pinned or newest', 'pinned: only variants with a digest. Default newest.', {
        enum: ['pinned', 'newest', null],
      }),
    ),
    region: Type.Optional(
      field('a string', 'Only endpoints with this label.', { ...name, type: ['string', 'null'] }),
    ),
    retention: Type.Optional(
      field('none or standard', 'Only endpoints that keep this much of requests.', {
        enum: ['none', 'standard', null],
      }),
    ),
  },
  { additionalProperties: false },
)

export function aliasRoutes(app: FastifyInstance, { endpoints }: Administration): void {
  const tags = ['administration']
  const find = (asked: string): object => {
    const alias = endpoints.aliases().find((one) => one.name === asked)
    if (alias === undefined) throw unknownAlias(asked)
    return aliasView(alias)
  }
  app.get('/v1/aliases', { schema: { summary: 'All aliases', tags } }, async () =>
    listOf(endpoints.aliases().map(aliasView)),
  )
  app.get<ByName>(
    '/v1/aliases/:name',
    { schema: { summary: 'One alias', tags } },
    async ({ params }) => find(params.name),
  )
  app.put<ByName & { Body: AliasBody }>(
    '/v1/aliases/:name',
    { schema: { summary: 'Create an alias, or replace it as a whole', tags, body: aliasSchema } },
    async ({ params, body, principal }) => {
      await endpoints.setAlias(params.name, aliasOf(params.name, body), principal)
      return find(params.name)
    },
  )
  app.delete<ByName>(
    '/v1/aliases/:name',
    { schema: { summary: 'Remove an alias; its history stays', tags } },
    async ({ params, principal }, reply) => {
      find(params.name)
      await endpoints.setAlias(params.name, null, principal)
      return reply.code(204).send()
    },
  )
  app.get<ByName>(
    '/v1/aliases/:name/history',
    { schema: { summary: 'Every change of an alias, oldest first', tags } },
    async ({ params }) => {
      const changes = await endpoints.history(params.name)
      return listOf(changes.filter(({ what }) => what === 'alias').map(changeView))
    },
  )
}

function aliasOf(alias: string, body: AliasBody): AliasSpec {
  if (!NAME_PATTERN.test(alias)) {
    throw invalidValue('name', NAME_EXPECTED, `a string of length ${alias.length}`)
  }
  return {
    name: alias,
    targets: body.targets,
    allowFallbacks: body.allow_fallbacks ?? true,
    quantizations: body.quantizations ?? null,
    revision: body.revision ?? 'newest',
    region: body.region ?? null,
    retention: body.retention ?? null,
  }
}

function aliasView(alias: AliasSpec): object {
  return { object: 'alias', ...(snakeCase(alias) as object) }
}

function unknownAlias(asked: string): Error {
  const alias = asked.length <= 200 ? asked : `${asked.slice(0, 200)}…`
  return serverError('SERVER_UNKNOWN_ALIAS', { param: 'name', details: { alias } })
}
