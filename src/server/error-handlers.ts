/**
 * Answers whatever a route throws, unknown routes and methods, and URLs that cannot be read; before the first byte.
 *
 * Owns the list of routes, which a 405 needs. Shapes and words come from `error-mapping.ts`.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { asServingError, toErrorAnswer } from './error-mapping.ts'
import { serverError } from './errors.ts'
import { isGone, logFault, type ServingContext, settle } from './serving.ts'

const MAX_PATH_LENGTH = 200

export function installErrorHandlers(app: FastifyInstance, context: ServingContext): void {
  const routes: { pattern: RegExp; method: string }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    for (const one of [method].flat()) routes.push({ pattern: patternOf(url), method: one })
  })
  app.setErrorHandler((error, request, reply) => answerError(context, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]?.slice(0, MAX_PATH_LENGTH) ?? ''
    const allowed = routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
    const { method } = request
    const error =
      allowed.length === 0
        ? serverError('SERVER_UNKNOWN_ROUTE', { details: { method, path } })
        : serverError('SERVER_METHOD_NOT_ALLOWED', {
            details: { method, path, allowed: [...new Set(allowed)].join(', ') },
          })
    return answerError(context, error, request, reply)
  })
}

/** Send the error, and settle the request's trace where it has one. */
export function answerError(
  context: ServingContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const setting = { requestId: request.id, ...context.config }
  const known = asServingError(error, setting)
  const { status, headers, body } = toErrorAnswer(known, setting)
  logFault(request.log, known)
  const hasStarted = request.trace?.hasStarted === true
  const outcome = isGone(known) ? 'cancelled' : hasStarted || status === 500 ? 'failed' : 'refused'
  settle(context, request, { outcome, httpStatus: status, errorCode: known.code })
  if (reply.sent) return reply
  // What a drained server still gets on a kept connection belongs on another one.
  if (context.inFlight.isDraining) reply.header('connection', 'close')
  return reply
    .code(status)
    .header('x-request-id', request.id)
    .headers(headers)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(body))
}

/** A route's URL as a pattern: `:name` stands for one segment, `*` for the rest. */
function patternOf(url: string): RegExp {
  const source = url
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:\w+/g, '[^/]+')
    .replace(/\*/g, '.*')
  return new RegExp(`^${source}/?$`)
}
