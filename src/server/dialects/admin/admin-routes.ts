/**
 * Our own routes for administrators: load and unload now, memory estimates before a load, the state of everything, the
 * history of changes, and reading the configuration file again.
 */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Administration } from '../../administration.ts'
import { field } from '../openai/fields.ts'
import { changeView, listOf, poolView, profileView, statusView } from './admin-views.ts'

interface ByModel {
  readonly Params: { readonly model: string }
}

const variant = Type.Optional(
  field('the name of a variant', 'Which variant; without it the policy decides.', {
    type: ['string', 'null'],
    minLength: 1,
    maxLength: 200,
  }),
)

/** Also no body at all, as `curl -X POST` sends. */
function emptyOr(properties: object): object {
  return field('an object', 'May be left out.', {
    type: ['object', 'null'],
    additionalProperties: false,
    properties,
  })
}

export function adminRoutes(app: FastifyInstance, { endpoints }: Administration): void {
  const tags = ['administration']
  app.get(
    '/v1/status',
    { schema: { summary: 'Memory, endpoints, replicas and load times', tags } },
    async () => poolView(endpoints.status()),
  )
  app.post<ByModel & { Body: { readonly variant?: string | null } | null }>(
    '/v1/models/:model/load',
    {
      schema: {
        summary: 'Load an endpoint’s model now; answers when it is ready',
        tags,
        body: emptyOr({ variant }),
      },
    },
    async ({ params, body }) =>
      statusView(await endpoints.load(params.model, body?.variant ?? undefined)),
  )
  app.post<ByModel>(
    '/v1/models/:model/unload',
    {
      schema: {
        summary: 'Give up an endpoint’s memory once its requests have ended; the next one loads it',
        tags,
        body: emptyOr({}),
      },
    },
    async ({ params }) => statusView(await endpoints.unload(params.model)),
  )
  app.get<ByModel>(
    '/v1/models/:model/profiles',
    { schema: { summary: 'Ways to serve a model and the memory of each, before any load', tags } },
    async ({ params }) => listOf((await endpoints.profiles(params.model)).map(profileView)),
  )
  const querystring = Type.Object(
    {
      name: Type.Optional(
        field('a name', 'Only changes of this endpoint or alias.', {
          type: 'string',
          minLength: 1,
        }),
      ),
    },
    { additionalProperties: false },
  )
  app.get<{ Querystring: { readonly name?: string } }>(
    '/v1/history',
    {
      schema: { summary: 'Every change of endpoints and aliases, oldest first', tags, querystring },
    },
    async ({ query }) => listOf((await endpoints.history(query.name)).map(changeView)),
  )
  app.post(
    '/v1/config/reload',
    {
      schema: {
        summary: 'Read the configuration file again and apply it, all or nothing',
        tags,
        body: emptyOr({}),
      },
    },
    async ({ principal }) => listOf((await endpoints.reload(principal)).changes.map(changeView)),
  )
}
