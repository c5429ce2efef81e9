/**
 * Together's `/v1/endpoints`: create, list, get, patch, delete, and the list of availability zones. Validate, translate,
 * hand on; whether it is allowed was decided before (`administration.ts`).
 */

import type { FastifyInstance } from 'fastify'
import type { Administration } from '../../administration.ts'
import {
  AVAILABILITY_ZONE,
  type CreateEndpointBody,
  createEndpointSchema,
  type ListEndpointsQuery,
  listEndpointsSchema,
  type UpdateEndpointBody,
  updateEndpointSchema,
} from './endpoint-schema.ts'
import { endpointObject, listedEndpoint, patchOf, specOf } from './endpoint-translate.ts'

interface ById {
  readonly Params: { readonly id: string }
}

export function endpointRoutes(
  app: FastifyInstance,
  { endpoints, machine, defaults }: Administration,
): void {
  const tags = ['endpoints']
  app.post<{ Body: CreateEndpointBody }>(
    '/v1/endpoints',
    { schema: { summary: 'Create an endpoint', tags, body: createEndpointSchema } },
    async ({ body, principal }) =>
      endpointObject(await endpoints.create(specOf(body, machine, defaults), principal), machine),
  )
  app.get<{ Querystring: ListEndpointsQuery }>(
    '/v1/endpoints',
    { schema: { summary: 'All endpoints', tags, querystring: listEndpointsSchema } },
    async ({ query }) => {
      const all = query.usage_type === 'reserved' ? [] : endpoints.status().endpoints
      const asked = all.filter(({ spec }) => (query.type ?? spec.mode) === spec.mode)
      return { object: 'list', data: asked.map(listedEndpoint) }
    },
  )
  app.get<ById>(
    '/v1/endpoints/:id',
    { schema: { summary: 'One endpoint, by its id or name', tags } },
    async ({ params }) => endpointObject(endpoints.get(params.id), machine),
  )
  app.patch<ById & { Body: UpdateEndpointBody }>(
    '/v1/endpoints/:id',
    { schema: { summary: 'Change, start or stop an endpoint', tags, body: updateEndpointSchema } },
    async ({ params, body, principal }) => {
      const patch = patchOf(body, endpoints.get(params.id), defaults)
      return endpointObject(await endpoints.update(params.id, patch, principal), machine)
    },
  )
  app.delete<ById>(
    '/v1/endpoints/:id',
    { schema: { summary: 'Delete an endpoint once its requests have ended', tags } },
    async ({ params, principal }, reply) => {
      await endpoints.remove(params.id, principal)
      return reply.code(204).send()
    },
  )
  app.get(
    '/v1/clusters/availability-zones',
    { schema: { summary: 'The one zone that create accepts', tags } },
    async () => ({ avzones: [AVAILABILITY_ZONE] }),
  )
}
