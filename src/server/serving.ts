/**
 * From a translated request to its answer, streamed or whole: the one path that all generation routes share.
 *
 * Owns a request's life between its translation and its audit record: the gate, the abort signal, the event loop over
 * the run, and who hears of an error. Dialects hand in translators; it knows none of their fields.
 *
 * I1 streamed and whole answers are made from the same events in the same order.
 * I2 the request is in flight until its response is closed, so a drain waits for its last byte.
 * I3 a client that hangs up aborts the signal at once, streamed or not.
 */

import type { ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../base/clock.ts'
import type { Deployments, ModelCard } from '../deployment/deployments.ts'
import type { GenerationRequest } from '../deployment/generation.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { AuditSink } from '../provenance/audit-log.ts'
import { AnswerStream } from './answer-stream.ts'
import { asServingError, toErrorAnswer } from './error-mapping.ts'
import { serverError } from './errors.ts'
import type { PromptEvent } from './event-merger.ts'
import { type GenerationRun, type StartedEvent, startGeneration } from './generation-run.ts'
import type { InFlight } from './in-flight.ts'
import type { RequestTrace, Settlement } from './request-trace.ts'
import { servedHeaders } from './served-headers.ts'
import type { ServerConfig } from './server-config.ts'
import type { Timers } from './timers.ts'

/** What every route may use. */
export interface ServingContext {
  readonly deployments: Deployments
  readonly metrics: Metrics
  readonly audit: AuditSink
  readonly config: ServerConfig
  readonly inFlight: InFlight
  readonly clock: Clock
  readonly timers: Timers
}

/** Makes a streamed answer's frames; objects that become one line of JSON each. */
export interface StreamTranslator {
  /** Sent with the headers, before any token exists. */
  open(): readonly object[]
  translate(item: PromptEvent): readonly object[]
  close(): readonly object[]
}

/** Makes a whole answer's body. */
export interface BodyTranslator {
  take(item: PromptEvent): void
  finish(): object
}

/** A request in canonical form, with its dialect's way back. */
export interface AnswerPlan {
  /** One a prompt. */
  readonly requests: readonly GenerationRequest[]
  readonly responseId: string
  readonly card: ModelCard
  readonly isStreamed: boolean
  stream(started: readonly StartedEvent[]): StreamTranslator
  body(started: readonly StartedEvent[]): BodyTranslator
}

/**
 * Answer one request. Resolves when the answer is sent, or handed to Fastify.
 *
 * @throws whatever refused or failed it before the first byte; the app's error handler answers that and settles
 */
export async function serve(
  context: ServingContext,
  plan: AnswerPlan,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const trace = traceOf(request)
  trace.translated(plan.responseId, plan.requests, plan.card)
  context.audit.assertAccepting()
  const controller = context.inFlight.enter()
  whenClosed(reply.raw, () => {
    if (!reply.raw.writableFinished) controller.abort(serverError('SERVER_CLIENT_GONE'))
  })
  const stream = plan.isStreamed ? streamOf(context, reply, trace) : null
  try {
    const { signal } = controller
    const run = await startGeneration(context.deployments, plan.requests, signal, () =>
      stream?.open(),
    )
    trace.started(run.started)
    if (stream?.isOpen !== true) reply.headers(servedHeaders(run.started))
    const answering = { context, plan, run, trace, request, reply, signal }
    if (stream === null) await answerWhole(answering)
    else await answerStream(answering, stream)
  } catch (error) {
    if (stream?.isOpen === true) failStream(context, request, stream, error)
    else if (isGone(error)) {
      // Nobody is there to be answered, and Fastify must not try.
      reply.hijack()
      settle(context, request, {
        outcome: 'cancelled',
        httpStatus: 499,
        errorCode: 'SERVER_CLIENT_GONE',
      })
    } else throw error
  } finally {
    stream?.end()
    // Ends what a failure left running; nobody hears it after a complete run.
    controller.abort()
    // The response may still be on its way out (I2).
    whenClosed(reply.raw, () => context.inFlight.leave(controller))
  }
}

interface Answering {
  readonly context: ServingContext
  readonly plan: AnswerPlan
  readonly run: GenerationRun
  readonly trace: RequestTrace
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly signal: AbortSignal
}

async function answerWhole({ context, plan, run, ...rest }: Answering): Promise<void> {
  const { trace, request, reply } = rest
  const translator = plan.body(run.started)
  for await (const item of run.events) {
    trace.observe(item)
    translator.take(item)
  }
  const body = JSON.stringify(translator.finish())
  settle(context, request, { outcome: 'completed', httpStatus: 200, errorCode: null })
  reply.type('application/json; charset=utf-8').send(body)
}

function streamOf(
  { config, clock, timers }: ServingContext,
  reply: FastifyReply,
  trace: RequestTrace,
): AnswerStream {
  const keepAliveMs = config.sseKeepAliveMs
  return new AnswerStream({ reply, keepAliveMs, clock, timers, elapsedMs: () => trace.elapsedMs })
}

async function answerStream(
  { context, plan, run, trace, request, signal }: Answering,
  stream: AnswerStream,
): Promise<void> {
  stream.open()
  const translator = plan.stream(run.started)
  stream.send(translator.open())
  for await (const item of run.events) {
    trace.observe(item)
    stream.send(translator.translate(item))
    if (stream.isFull) await stream.drained(signal)
  }
  stream.send(translator.close())
  stream.done()
  settle(context, request, { outcome: 'completed', httpStatus: 200, errorCode: null })
}

/** The headers have left: the error becomes the last event. */
function failStream(
  context: ServingContext,
  request: FastifyRequest,
  stream: AnswerStream,
  error: unknown,
): void {
  const setting = { requestId: request.id, ...context.config }
  const known = asServingError(error, setting)
  logFault(request.log, known)
  stream.send([toErrorAnswer(known, setting).body])
  const outcome = isGone(known) ? 'cancelled' : 'failed'
  settle(context, request, { outcome, httpStatus: 200, errorCode: known.code })
}

/** Write the request's audit record and log line, unless that was done before. */
export function settle(
  context: ServingContext,
  request: FastifyRequest,
  settlement: Settlement,
): void {
  const record = request.trace?.settle(settlement) ?? null
  if (record === null) return
  // A log that takes no more records is the reason of this refusal; one record more would only make it worse.
  if (settlement.errorCode?.startsWith('AUDIT_') !== true) context.audit.append(record)
  // The log's own binding says the request id.
  const { responseId, route, outcome, httpStatus, errorCode, resolvedModel } = record
  const { promptTokens, completionTokens, latencies } = record
  const line = { responseId, route, outcome, httpStatus, errorCode, resolvedModel }
  request.log.info(
    { ...line, promptTokens, completionTokens, totalMs: latencies.totalMs },
    'generation request settled',
  )
}

/** Faults of ours go to the log with their cause, the request id being the log's own; a caller's mistakes do not. */
export function logFault(log: FastifyBaseLogger, error: Error): void {
  if ((error as { status?: number }).status !== 500) return
  const { cause } = error
  log.error({ err: cause instanceof Error ? cause : error }, error.message)
}

export function isGone(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'SERVER_CLIENT_GONE'
}

function traceOf(request: FastifyRequest): RequestTrace {
  if (request.trace === null) throw new TypeError('the route lacks the hook that makes its trace')
  return request.trace
}

function whenClosed(response: ServerResponse, act: () => void): void {
  if (response.closed || response.destroyed) act()
  else response.once('close', act)
}
