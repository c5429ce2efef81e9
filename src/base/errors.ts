/**
 * The two families of errors, and nothing about who shows them.
 *
 * `ServingError` is expected: a bad file, a bad parameter, a full queue. It carries a code, the HTTP status it would
 * have, whether trying again can help, and the parameter's name where there is one. `InvariantError` is a bug of ours:
 * it names the invariant that broke and is never turned into a 4xx.
 *
 * Each room declares its codes once, as a table, with `defineErrors`; `docs/errors.md` is made from those tables.
 */

/** One row of a room's error table. `message` gives the shape of the sentence, `{name}` being filled from details. */
export interface ErrorDefinition {
  readonly status: number
  readonly retryable: boolean
  readonly message: string
}

export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>

export interface ServingErrorOptions {
  /** Request field, flag or config key that caused it, in the words of the caller (`top_p`, `--threads`). */
  readonly param?: string | undefined
  readonly details?: ErrorDetails | undefined
  readonly cause?: unknown
  /** Seconds after which a retry makes sense; becomes `Retry-After`. */
  readonly retryAfterSeconds?: number | undefined
}

/** An expected failure. `message` says what was expected, what came, where, and the next move. */
export class ServingError extends Error {
  readonly code: string
  readonly status: number
  readonly retryable: boolean
  readonly param: string | undefined
  readonly details: ErrorDetails
  readonly retryAfterSeconds: number | undefined

  constructor(code: string, definition: ErrorDefinition, options: ServingErrorOptions = {}) {
    super(
      fillTemplate(definition.message, options.details ?? {}),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'ServingError'
    this.code = code
    this.status = definition.status
    this.retryable = definition.retryable
    this.param = options.param
    this.details = options.details ?? {}
    this.retryAfterSeconds = options.retryAfterSeconds
  }

  /** Plain data that survives a process boundary; `reviveServingError` is the way back. */
  toWire(): WireError {
    return {
      code: this.code,
      status: this.status,
      retryable: this.retryable,
      message: this.message,
      param: this.param ?? null,
      details: this.details,
      retryAfterSeconds: this.retryAfterSeconds ?? null,
    }
  }
}

export interface WireError {
  readonly code: string
  readonly status: number
  readonly retryable: boolean
  readonly message: string
  readonly param: string | null
  readonly details: ErrorDetails
  readonly retryAfterSeconds: number | null
}

/** Rebuild a `ServingError` that another process sent with `toWire`. */
export function reviveServingError(wire: WireError): ServingError {
  const definition = {
    status: wire.status,
    retryable: wire.retryable,
    message: escapeTemplate(wire.message),
  }
  return new ServingError(wire.code, definition, {
    param: wire.param ?? undefined,
    details: wire.details,
    retryAfterSeconds: wire.retryAfterSeconds ?? undefined,
  })
}

/** A broken invariant of ours: stops the engine, turns health red. `invariant` is its id in the module's header. */
export class InvariantError extends Error {
  readonly invariant: string

  constructor(invariant: string, message: string) {
    super(`invariant ${invariant} is broken: ${message}`)
    this.name = 'InvariantError'
    this.invariant = invariant
  }
}

/** Check an invariant of ours. `message` is a plain string so that a check that holds allocates nothing. */
export function invariant(condition: boolean, id: string, message: string): asserts condition {
  if (!condition) throw new InvariantError(id, message)
}

export type ErrorTable = Readonly<Record<string, ErrorDefinition>>

const tables: { room: string; table: ErrorTable }[] = []

/**
 * Declare a room's errors. Keys are the codes (`ROOM_WHAT`), unique over the whole product.
 *
 * @returns a function that makes the error: `throw checkpointError('CHECKPOINT_BAD_MAGIC', { details: { file } })`
 */
export function defineErrors<T extends ErrorTable>(
  room: string,
  table: T,
): (code: keyof T & string, options?: ServingErrorOptions) => ServingError {
  tables.push({ room, table })
  return (code, options) => new ServingError(code, table[code] as ErrorDefinition, options)
}

/** All tables declared so far, for `docs/errors.md` and the test that compares the two. */
export function allErrorTables(): readonly { room: string; table: ErrorTable }[] {
  return tables
}

function fillTemplate(template: string, details: ErrorDetails): string {
  return template.replace(/\{\{|\{(\w+)\}/g, (whole, name: string | undefined) => {
    if (name === undefined) return '{'
    const value = details[name]
    return value === undefined ? whole : String(value)
  })
}

function escapeTemplate(message: string): string {
  return message.replaceAll('{', '{{')
}
