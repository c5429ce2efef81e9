/** `POST /v1/chat/completions`: validate, translate, serve. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { StartedEvent } from '../../generation-run.ts'
import { traced } from '../../hooks.ts'
import { newResponseId } from '../../request-id.ts'
import { coldStartWait } from '../../scale-up-timeout.ts'
import { type AnswerPlan, type ServingContext, serve } from '../../serving.ts'
import { chatBody, chatStream } from './chat-answer.ts'
import { type ChatBody, chatBodySchema } from './chat-schema.ts'
import { translateChat } from './chat-translate.ts'
import { findModel } from './model-routes.ts'
import { tierAnswer } from './service-tiers.ts'

export function chatRoutes(app: FastifyInstance, context: ServingContext): void {
  const schema = {
    summary: 'Answer a conversation',
    tags: ['generation'],
    body: chatBodySchema(context.config.maxMessages),
  }
  app.post<{ Body: ChatBody }>(
    '/v1/chat/completions',
    { schema, ...traced(context) },
    (request, reply) => serve(context, chatPlan(context, request), request, reply),
  )
}

function chatPlan(
  context: ServingContext,
  { body, principal, headers }: FastifyRequest<{ Body: ChatBody }>,
): AnswerPlan {
  const card = findModel(context.deployments, body.model)
  const id = newResponseId('chatcmpl')
  const request = translateChat(body, card, {
    id,
    principal,
    coldStartWaitMs: coldStartWait(headers),
  })
  const options = {
    id,
    created: Math.floor(context.clock.wallMs() / 1000),
    numChoices: request.numChoices,
    hasLogprobs: request.sampling.topLogprobs !== null,
    returnsTokenIds: body.return_token_ids === true,
    includesUsage: body.stream_options?.include_usage === true,
    serviceTier: tierAnswer(body.service_tier ?? null),
    provider: body.provider ?? null,
  }
  return {
    requests: [request],
    responseId: id,
    card,
    isStreamed: body.stream === true,
    // One prompt, so exactly one started event.
    stream: ([started]) => chatStream(options, started as StartedEvent),
    body: ([started]) => chatBody(options, started as StartedEvent),
  }
}
