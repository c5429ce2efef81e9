/** `GET /v1/models` and `GET /v1/models/{id}` in OpenAI's shape, with what a client of ours may want beside. */

import type { FastifyInstance } from 'fastify'
import type { ModelCard } from '../../../deployment/deployments.ts'
import { serverError } from '../../errors.ts'
import type { ServingContext } from '../../serving.ts'

export function modelRoutes(app: FastifyInstance, { deployments }: ServingContext): void {
  const tags = ['models']
  app.get('/v1/models', { schema: { summary: 'The models that are served', tags } }, async () => ({
    object: 'list',
    data: deployments.list().map(modelObject),
  }))
  app.get<{ Params: { model: string } }>(
    '/v1/models/:model',
    { schema: { summary: 'One model, by its id or an alias', tags } },
    async ({ params }) => modelObject(findModel(deployments, params.model)),
  )
}

/** @throws ServingError SERVER_UNKNOWN_MODEL */
export function findModel(
  deployments: { find(name: string): ModelCard | undefined },
  name: string,
): ModelCard {
  const card = deployments.find(name)
  if (card !== undefined) return card
  const model = name.length <= MAX_SHOWN_NAME ? name : `${name.slice(0, MAX_SHOWN_NAME)}…`
  throw serverError('SERVER_UNKNOWN_MODEL', { param: 'model', details: { model } })
}

const MAX_SHOWN_NAME = 200

/** An adapter's `parent` is its base, and its `root` what it is called there; a base is its own root. */
export function modelObject(card: ModelCard): object {
  return {
    id: card.id,
    object: 'model',
    created: card.created,
    owned_by: card.ownedBy,
    // vLLM's name for the context length; the rest is ours.
    max_model_len: card.maxContextTokens,
    root: card.adapter?.name ?? card.id,
    parent: card.adapter?.parent ?? null,
    adapter_digest: card.adapter?.digest ?? null,
    aliases: card.aliases,
    digest: card.digest,
    quantization: card.quantization,
  }
}
