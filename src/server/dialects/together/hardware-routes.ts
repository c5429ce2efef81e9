/** Together's `GET /v1/hardware`, answered from the probed machine; with `model`, from the arithmetic of its memory. */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Administration } from '../../administration.ts'
import { field } from '../openai/fields.ts'
import { availabilityOf, hardwareObject, threadCounts } from './hardware.ts'

export function hardwareRoutes(
  app: FastifyInstance,
  { endpoints, machine, nowMs }: Administration,
): void {
  const querystring = Type.Object(
    {
      model: Type.Optional(
        field('a model or an endpoint', 'Tell whether this model’s memory is to be had.', {
          type: 'string',
          minLength: 1,
          maxLength: 1000,
        }),
      ),
    },
    { additionalProperties: false },
  )
  app.get<{ Querystring: { model?: string } }>(
    '/v1/hardware',
    {
      schema: {
        summary: 'What a replica of an endpoint may have',
        tags: ['endpoints'],
        querystring,
      },
    },
    async ({ query: { model } }) => {
      const availability =
        model === undefined
          ? null
          : availabilityOf(await endpoints.profiles(model), endpoints.status().budgetBytes)
      const now = new Date(nowMs())
      const data = threadCounts(machine).map((threads) =>
        hardwareObject(machine, threads, availability, now),
      )
      return { object: 'list', data }
    },
  )
}
