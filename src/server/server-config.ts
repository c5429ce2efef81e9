/**
 * The server's slice of the configuration. The config room resolves values and reasons; the composition root maps them
 * to this. Nothing in here is read from the environment, and nothing says auto.
 */

export interface ServerConfig {
  /** Ingot's own version, for `/version`, `/openapi.json` and the build metric. */
  readonly version: string
  /** Largest request body in bytes; beyond it 413. */
  readonly maxBodyBytes: number
  /** Messages a chat request may hold. */
  readonly maxMessages: number
  /** Prompts a completions request may hold. */
  readonly maxPrompts: number
  /** Prompts times `n` of one request: each is a sequence in the engine. */
  readonly maxChoices: number
  /** Silence on an open stream after which a comment is sent; 0 = never. Proxies commonly cut at 30 to 60 s. */
  readonly sseKeepAliveMs: number
  /** Time in which a request's headers must have come. */
  readonly headersTimeoutMs: number
  /** Time in which a whole request must have come. Answers may take as long as they need. */
  readonly requestTimeoutMs: number
  /** How long an idle connection is kept. Above the 60 s that load balancers keep theirs, so that they close first. */
  readonly idleConnectionMs: number
  readonly maxConnections: number
  /** `Retry-After` of a refusal that names no time of its own; seconds. */
  readonly retryAfterSeconds: number
  /** What admin routes ask for; `null` = none is set, and only this machine may use them. */
  readonly adminToken: string | null
}

/** Characters of a name in a URL. Names of models may hold an organisation and a revision; Fastify's 100 are too few. */
export const MAX_PARAM_LENGTH = 512

export const DEFAULT_SERVER_CONFIG: Omit<ServerConfig, 'version'> = Object.freeze({
  maxBodyBytes: 8 * 1024 * 1024,
  maxMessages: 4096,
  maxPrompts: 128,
  maxChoices: 128,
  sseKeepAliveMs: 10_000,
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 60_000,
  idleConnectionMs: 75_000,
  maxConnections: 4096,
  retryAfterSeconds: 5,
  adminToken: null,
})
