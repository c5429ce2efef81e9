/**
 * `POST /v1/load_lora_adapter` and `POST /v1/unload_lora_adapter`, as vLLM has them: adapters come and go while the server
 * runs. For administrators, and only where the configuration names a folder that adapters may be read from.
 */

import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Administration } from '../../administration.ts'
import { field } from '../openai/fields.ts'
import { modelObject } from '../openai/model-routes.ts'

const NAME = field(
  'a name',
  'What requests write behind the base’s name and a colon; base:adapter where several models are served.',
  { type: 'string', minLength: 1, maxLength: 300 },
)
const PATH = field(
  'a path',
  'Folder with adapter_config.json and adapter_model.safetensors, within the allowed one.',
  { type: 'string', minLength: 1, maxLength: 4096 },
)
const closed = { additionalProperties: false }

export function adapterRoutes(app: FastifyInstance, { adapters }: Administration): void {
  const tags = ['administration']
  app.post<{ Body: { readonly lora_name: string; readonly lora_path: string } }>(
    '/v1/load_lora_adapter',
    {
      schema: {
        summary: 'Load a LoRA adapter; answers when every replica holds it',
        tags,
        body: Type.Object({ lora_name: NAME, lora_path: PATH }, closed),
      },
    },
    async ({ body }) => modelObject(await adapters.load(body.lora_name, body.lora_path)),
  )
  app.post<{ Body: { readonly lora_name: string } }>(
    '/v1/unload_lora_adapter',
    {
      schema: {
        summary: 'Unload a LoRA adapter; answers when the requests that use it have ended',
        tags,
        body: Type.Object({ lora_name: NAME }, closed),
      },
    },
    async ({ body }) => ({
      id: await adapters.unload(body.lora_name),
      object: 'model',
      deleted: true,
    }),
  )
}
