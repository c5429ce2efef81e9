/**
 * Puts the HTTP server together: Fastify with its limits, hooks and error handlers, and the routes of each dialect.
 *
 * Owns the Fastify instance and the gate of requests in flight. Does not know what any route answers, or how models are
 * loaded: everything comes in through `ServerParts`.
 *
 * I1 every response carries `x-request-id`.
 * I2 every response with a status of 400 and above has a body in the shape of `error-mapping.ts`.
 * I3 every generation request whose body was parsed leaves exactly one audit record.
 */

import { isUtf8 } from 'node:buffer'
import type { Server } from 'node:http'
import fastify, {
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  LogController,
} from 'fastify'
import { type Clock, systemClock } from '../base/clock.ts'
import type { Deployments } from '../deployment/deployments.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { AuditSink } from '../provenance/audit-log.ts'
import { type Administration, adminOnly } from './administration.ts'
import { answerClientError } from './client-error.ts'
import { adminRoutes } from './dialects/admin/admin-routes.ts'
import { aliasRoutes } from './dialects/admin/alias-routes.ts'
import { chatRoutes } from './dialects/openai/chat-routes.ts'
import { completionsRoutes } from './dialects/openai/completions-routes.ts'
import { modelRoutes } from './dialects/openai/model-routes.ts'
import { endpointRoutes } from './dialects/together/endpoint-routes.ts'
import { hardwareRoutes } from './dialects/together/hardware-routes.ts'
import { adapterRoutes } from './dialects/vllm/adapter-routes.ts'
import { answerError, installErrorHandlers } from './error-handlers.ts'
import { serverError } from './errors.ts'
import { installHooks } from './hooks.ts'
import { InFlight } from './in-flight.ts'
import { LazyValidators } from './lazy-validators.ts'
import { installOpenApi } from './openapi.ts'
import { operationsRoutes } from './operations-routes.ts'
import { requestIdFor } from './request-id.ts'
import { MAX_PARAM_LENGTH, type ServerConfig } from './server-config.ts'
import type { ServingContext } from './serving.ts'
import { escapeSlashes } from './slashed-names.ts'
import { systemTimers, type Timers } from './timers.ts'
import { traceRoutes } from './trace-routes.ts'
import { EXPECTED_KEYWORD, validationError } from './validation-error.ts'

export interface ServerParts {
  readonly deployments: Deployments
  readonly metrics: Metrics
  readonly audit: AuditSink
  readonly config: ServerConfig
  /** None: endpoints are not to be seen or changed over HTTP, and those routes are unknown. */
  readonly administration?: Administration
  /** None: nothing is logged. */
  readonly logger?: FastifyBaseLogger
  readonly clock?: Clock
  readonly timers?: Timers
}

export type IngotServer = FastifyInstance & {
  /**
   * Stop admitting, let open answers finish within `graceMs`, abort the rest with an error event, close.
   * The audit log is the caller's to close, afterwards.
   */
  shutdown(graceMs: number): Promise<void>
  /** Compile the schemas that no request has needed yet, in pauses. */
  compileSchemas(): Promise<void>
}

/** How long aborted answers get to leave before their sockets are destroyed. */
const FAREWELL_MS = 1000
/** How often Node looks for connections that overran their timeouts. */
const TIMEOUT_CHECK_MS = 5000

/** Build the server; it listens when the caller says so, and can be `inject`ed before. */
export function buildServer(parts: ServerParts): IngotServer {
  const context = contextOf(parts)
  const validators = new LazyValidators()
  const app = fastify({
    ...fastifyOptions(parts),
    schemaController: { compilersFactory: validators.compilersFactory },
    frameworkErrors: (error, request, reply) => {
      answerError(context, error, request, reply)
    },
  })
  app.server.maxConnections = parts.config.maxConnections
  app.removeContentTypeParser('text/plain')
  parseJsonStrictly(app)
  installErrorHandlers(app, context)
  installHooks(app, context)
  installOpenApi(app, parts.config.version)
  app.register((scope, _options, done) => {
    operationsRoutes(scope, context)
    modelRoutes(scope, context)
    chatRoutes(scope, context)
    completionsRoutes(scope, context)
    done()
  })
  if (parts.administration !== undefined) addAdministration(app, parts.administration, parts)
  return Object.assign(app, {
    shutdown: (graceMs: number): Promise<void> => shutdown(app, context, graceMs),
    compileSchemas: () => validators.compileAll(),
  })
}

function addAdministration(
  app: FastifyInstance,
  administration: Administration,
  { config: { adminToken }, deployments }: ServerParts,
): void {
  app.register((scope, _options, done) => {
    scope.addHook('onRequest', adminOnly(adminToken))
    endpointRoutes(scope, administration)
    hardwareRoutes(scope, administration)
    adminRoutes(scope, administration)
    aliasRoutes(scope, administration)
    adapterRoutes(scope, administration)
    const { traces } = administration
    if (traces !== undefined) traceRoutes(scope, traces, (name) => deployments.find(name)?.id)
    done()
  })
}

function contextOf(parts: ServerParts): ServingContext {
  const { deployments, metrics, audit, config } = parts
  const clock = parts.clock ?? systemClock
  const timers = parts.timers ?? systemTimers
  const inFlight = new InFlight(metrics.openStreams)
  return { deployments, metrics, audit, config, inFlight, clock, timers }
}

function fastifyOptions({ config, logger }: ServerParts): FastifyHttpOptions<Server> {
  return {
    ...(logger === undefined ? {} : { loggerInstance: logger }),
    genReqId: (raw) => requestIdFor(raw.headers),
    rewriteUrl: ({ method = '', url = '' }) => escapeSlashes(method, url),
    requestIdHeader: false,
    // Our own line is written when a request is settled, see `serving.ts`.
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'requestId',
    }),
    bodyLimit: config.maxBodyBytes,
    requestTimeout: config.requestTimeoutMs,
    keepAliveTimeout: config.idleConnectionMs,
    http: {
      headersTimeout: config.headersTimeoutMs,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    },
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH, ignoreTrailingSlash: true },
    // Our own answer to requests that come while closing has the API's shape.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    clientErrorHandler: answerClientError,
    ajv: {
      customOptions: {
        // Never change what the caller sent: "5" is not 5, and an unknown field is an error, not dropped.
        coerceTypes: false,
        removeAdditional: false,
        useDefaults: false,
        verbose: true,
        allowUnionTypes: true,
        keywords: [EXPECTED_KEYWORD],
      },
    },
    schemaErrorFormatter: (errors) => validationError(errors),
  }
}

/** Bytes that are no UTF-8 would become U+FFFD: another prompt than the one that was sent. */
function parseJsonStrictly(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser<Buffer>(
    'application/json',
    { parseAs: 'buffer' },
    (request, body, done) => {
      if (isUtf8(body)) void parse(request, body.toString(), done)
      else done(serverError('SERVER_MALFORMED_JSON', { details: { reason: 'it is not UTF-8' } }))
    },
  )
}

async function shutdown(
  app: FastifyInstance,
  { inFlight, timers }: ServingContext,
  graceMs: number,
): Promise<void> {
  // A client that does not read its last bytes must not hold the process.
  const destroyAll = (): void => app.server.closeAllConnections()
  const cancelLimit = timers.schedule(graceMs + FAREWELL_MS, destroyAll)
  await inFlight.drain(graceMs, timers)
  // Node does not count a connection as idle that has never carried a request, and pools of clients open such ones.
  const cancelFarewell = timers.schedule(FAREWELL_MS, destroyAll)
  await app.close()
  cancelFarewell()
  cancelLimit()
}
