/**
 * Step traces over HTTP: who ran in each step, with how many tokens and blocks, and why the next one in turn waited, as
 * JSON that ui.perfetto.dev opens. For administrators only, because they show how busy everybody is; they hold no text and
 * no token ids. Owns nothing.
 *
 *   POST /debug/trace {"action": "start" | "stop", "model": …}      GET /debug/trace?model=…   the last one written
 */

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { StepTraces, TraceAction } from '../deployment/step-traces.ts'
import { field } from './dialects/openai/fields.ts'
import { serverError } from './errors.ts'
import { MAX_PARAM_LENGTH } from './server-config.ts'

const MODEL = Type.Optional(
  field('the name of a model', 'Id of a served model; absent = all of them.', {
    type: 'string',
    minLength: 1,
    maxLength: MAX_PARAM_LENGTH,
  }),
)

const bodySchema = Type.Object(
  {
    action: field('start or stop', 'Stop writes what was recorded since the start.', {
      enum: ['start', 'stop'],
    }),
    model: MODEL,
  },
  { additionalProperties: false },
)

interface SwitchBody {
  readonly action: TraceAction
  readonly model?: string
}

/** @param idOf - the id that a name stands for */
export function traceRoutes(
  app: FastifyInstance,
  traces: StepTraces,
  idOf: (name: string) => string | undefined,
): void {
  const tags = ['operations']
  const named = (name: string | undefined): string | null =>
    name === undefined ? null : (idOf(name) ?? name)
  app.post<{ Body: SwitchBody }>(
    '/debug/trace',
    { schema: { summary: 'Switch the step trace of engines on or off', tags, body: bodySchema } },
    async ({ body: { action, model } }) => {
      const replicas = await traces.switch(action, named(model))
      if (replicas.length === 0 && model !== undefined)
        throw serverError('SERVER_UNKNOWN_MODEL', { param: 'model', details: { model } })
      return {
        object: 'trace',
        replicas: replicas.map(({ modelId, replica, isOn, file, reason }) => ({
          ...{ model: modelId, replica, is_on: isOn, file, reason },
        })),
      }
    },
  )
  app.get<{ Querystring: { readonly model?: string } }>(
    '/debug/trace',
    {
      schema: {
        summary: 'The last step trace that was written, for ui.perfetto.dev',
        tags,
        querystring: Type.Object({ model: MODEL }, { additionalProperties: false }),
      },
    },
    async ({ query: { model } }, reply) => {
      const file = traces.latest(named(model))
      const size = file === null ? null : await sizeOf(file)
      if (file === null || size === null) throw serverError('SERVER_NO_TRACE')
      return reply
        .type('application/json')
        .header('content-length', size)
        .header('content-disposition', `attachment; filename="${basename(file)}"`)
        .send(createReadStream(file))
    },
  )
}

/** Null when somebody has deleted it. */
async function sizeOf(file: string): Promise<number | null> {
  try {
    return (await stat(file)).size
  } catch {
    // Whatever keeps it from being read, there is no trace to give.
    return null
  }
}
