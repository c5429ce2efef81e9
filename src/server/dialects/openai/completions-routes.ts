/** `POST /v1/completions`: validate, translate, serve. */

import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Deployments } from '../../../deployment/deployments.ts'
import type { GenerationRequest } from '../../../deployment/generation.ts'
import type { StartedEvent } from '../../generation-run.ts'
import { traced } from '../../hooks.ts'
import { newResponseId } from '../../request-id.ts'
import { coldStartWait } from '../../scale-up-timeout.ts'
import { type AnswerPlan, type ServingContext, serve } from '../../serving.ts'
import {
  type CompletionsAnswerOptions,
  completionsBody,
  completionsStream,
  type EchoedPrompt,
} from './completions-answer.ts'
import { type CompletionsBody, completionsBodySchema } from './completions-schema.ts'
import { translateCompletions } from './completions-translate.ts'
import { findModel } from './model-routes.ts'
import { tierAnswer } from './service-tiers.ts'

export function completionsRoutes(app: FastifyInstance, context: ServingContext): void {
  const schema = {
    summary: 'Go on from a text',
    tags: ['generation'],
    body: completionsBodySchema(context.config.maxPrompts),
  }
  app.post<{ Body: CompletionsBody }>(
    '/v1/completions',
    { schema, ...traced(context) },
    (request, reply) => serve(context, completionsPlan(context, request), request, reply),
  )
}

function completionsPlan(
  context: ServingContext,
  { body, principal, headers }: FastifyRequest<{ Body: CompletionsBody }>,
): AnswerPlan {
  const { deployments, config } = context
  const card = findModel(deployments, body.model)
  const id = newResponseId('cmpl')
  const { maxChoices } = config
  const requests = translateCompletions(body, {
    card,
    id,
    principal,
    maxChoices,
    coldStartWaitMs: coldStartWait(headers),
  })
  const options = (started: readonly StartedEvent[]): CompletionsAnswerOptions => ({
    id,
    created: Math.floor(context.clock.wallMs() / 1000),
    numChoices: body.n ?? 1,
    logprobs: body.logprobs ?? null,
    promptLogprobs: body.prompt_logprobs ?? null,
    returnsTokenIds: body.return_token_ids === true,
    includesUsage: body.stream_options?.include_usage === true,
    hasAnswer: body.max_tokens !== 0,
    serviceTier: tierAnswer(body.service_tier ?? null),
    provider: body.provider ?? null,
    echo: body.echo === true ? echoedPrompts(deployments, requests, started) : null,
  })
  return {
    requests,
    responseId: id,
    card,
    isStreamed: body.stream === true,
    stream: (started) => completionsStream(options(started), started),
    body: (started) => completionsBody(options(started), started),
  }
}

function echoedPrompts(
  deployments: Deployments,
  requests: readonly GenerationRequest[],
  started: readonly StartedEvent[],
): EchoedPrompt[] {
  return started.map(({ modelId, promptTokenIds }, index) => {
    const input = requests[index]?.input
    const text =
      input?.kind === 'text' ? input.text : deployments.decode(modelId, [...promptTokenIds])
    const firstId = promptTokenIds[0]
    const firstToken = firstId === undefined ? '' : deployments.tokenText(modelId, firstId)
    return { text, firstToken }
  })
}
