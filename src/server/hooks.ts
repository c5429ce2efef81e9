/**
 * What happens around every request: its id on the response, its time, its count, and for generation routes the trace
 * that becomes an audit record.
 *
 * Owns the `trace` of each request. Does not know routes; a generation route asks for its trace with `traced`.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { principalOf } from '../accounts/principal.ts'
import { serverError } from './errors.ts'
import { RequestTrace } from './request-trace.ts'
import { type ServingContext, settle } from './serving.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Of generation routes, from the parsed body on. */
    trace: RequestTrace | null
    principal: string
    startMs: number
  }
}

export function installHooks(app: FastifyInstance, context: ServingContext): void {
  const { clock, metrics } = context
  app.decorateRequest('trace', null)
  app.decorateRequest('principal', '')
  app.decorateRequest('startMs', 0)
  app.addHook('onRequest', async (request, reply) => {
    request.startMs = clock.nowMs()
    reply.header('x-request-id', request.id)
    const encoding = request.headers['content-encoding']
    if (encoding !== undefined && encoding !== 'identity') {
      throw serverError('SERVER_UNSUPPORTED_MEDIA_TYPE', {
        details: { got: 'a content-encoding' },
      })
    }
  })
  app.addHook('onSend', async (request, reply) => {
    if (request.startMs === 0) return
    reply.header('openai-processing-ms', Math.round(clock.nowMs() - request.startMs))
  })
  app.addHook('onRequest', async (request, reply) => {
    // Also when the client hangs up, which Fastify's onResponse does not report.
    reply.raw.once('close', () => {
      const status = reply.raw.headersSent ? reply.raw.statusCode : 499
      const route = request.routeOptions.url ?? 'unknown'
      metrics.httpRequests.inc({ method: request.method, route, status: String(status) })
    })
  })
}

/** Hooks of a generation route: it is traced from the moment its body is parsed. */
export function traced(context: ServingContext): {
  preValidation: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
} {
  return {
    preValidation: async (request, reply) => {
      const { headers, id: requestId } = request
      const apiKey = headers['x-api-key'] ?? headers['api-key']
      request.principal = principalOf(
        headers.authorization,
        typeof apiKey === 'string' ? apiKey : undefined,
      )
      const route = request.routeOptions.url ?? 'unknown'
      const { principal } = request
      request.trace = new RequestTrace(
        { requestId, principal, route },
        context.metrics,
        context.clock,
      )
      request.trace.asked(request.body)
      reply.raw.once('close', () => {
        // Whatever nobody settled by now is a fault of ours, and still leaves its record.
        setImmediate(() => {
          settle(context, request, {
            outcome: 'failed',
            httpStatus: reply.raw.statusCode,
            errorCode: 'SERVER_INTERNAL',
          })
        })
      })
    },
  }
}
