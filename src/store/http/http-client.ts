/**
 * GET over undici with what downloads need: retries with back-off, redirects that never lose safety, extra
 * certificates, proxies, time limits.
 *
 * Owns the connection pool. Knows nothing of indexes, hubs or files.
 * I1: no request leaves over plain http but to this machine or a trusted host, redirects included.
 * I2: an `authorization` header never follows a redirect to another origin.
 * I3: every body that is not handed out is drained or destroyed, so that no connection leaks.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Dispatcher,
  EnvHttpProxyAgent,
  fetch as undiciFetch,
  request as undiciRequest,
} from 'undici'
import { ServingError } from '../../base/errors.ts'
import { reasonOf, shownUrl, storeError } from '../errors.ts'
import { checkSecure } from '../source.ts'

export interface HttpOptions {
  /**
   * PEM texts that are trusted; none = what Node trusts by itself (NODE_EXTRA_CA_CERTS included). Asked at the first
   * request, so that a wrong setting does not keep a stored model from being served.
   */
  readonly certificates?: () => readonly string[]
  readonly httpProxy?: string | undefined
  readonly httpsProxy?: string | undefined
  /** Comma-separated hosts that are reached directly. */
  readonly noProxy?: string | undefined
  /** Hosts, or hosts with ports, that may be reached over plain http. Certificates are checked all the same. */
  readonly trustedHosts?: readonly string[]
  /** Until connected, milliseconds; default 20,000. */
  readonly connectTimeoutMs?: number
  /** Without any byte, headers or body, milliseconds; default 60,000. */
  readonly idleTimeoutMs?: number
  /** First pause before trying again, doubled each time, milliseconds; default 500. */
  readonly retryDelayMs?: number
  /** Tries per request, the first one counted; default 4. */
  readonly maxAttempts?: number
}

export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /** Statuses of 400 and more that the caller handles itself. */
  readonly accept?: readonly number[]
}

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** After redirects. */
  readonly url: URL
  /** Must be read to the end or destroyed. */
  readonly body: Dispatcher.ResponseData['body']
}

const MAX_REDIRECTS = 10
const LONGEST_RETRY_DELAY_MS = 20_000
const REDIRECTS = [301, 302, 303, 307, 308]
/** What may pass by itself: timeouts, overload, and gateways between us and the server. */
const TRANSIENT = [408, 425, 429, 500, 502, 503, 504]

export class HttpClient {
  readonly maxAttempts: number
  private readonly options: HttpOptions
  private dispatcher: Dispatcher | undefined
  private readonly trustedHosts: readonly string[]
  private readonly retryDelayMs: number

  constructor(options: HttpOptions = {}) {
    this.options = options
    this.dispatcher = undefined
    this.trustedHosts = options.trustedHosts ?? []
    this.retryDelayMs = options.retryDelayMs ?? 500
    this.maxAttempts = options.maxAttempts ?? 4
  }

  /**
   * GET `url`, through redirects, until there is an answer below 400 or one in `accept`.
   *
   * @throws ServingError STORE_NETWORK, STORE_HTTP_STATUS, STORE_TOO_MANY_REDIRECTS, STORE_INSECURE_URL; the signal's
   * reason when it is aborted
   */
  async get(url: URL, options: GetOptions = {}): Promise<HttpResponse> {
    for (let attempt = 1; ; attempt++) {
      let response: HttpResponse
      try {
        response = await this.follow(url, options)
      } catch (error) {
        options.signal?.throwIfAborted()
        if (error instanceof ServingError) throw error
        if (attempt >= this.maxAttempts) {
          const details = { url: shownUrl(url), attempts: attempt, got: reasonOf(error) }
          throw storeError('STORE_NETWORK', { details, cause: error })
        }
        await this.pause(attempt, options.signal)
        continue
      }
      if (response.status < 400 || options.accept?.includes(response.status)) return response
      await discard(response)
      if (!TRANSIENT.includes(response.status) || attempt >= this.maxAttempts) {
        throw badStatus(url, response.status, attempt)
      }
      await this.pause(attempt, options.signal, response.headers['retry-after'])
    }
  }

  /** A `fetch` that goes the same way (proxy, certificates, I1), for libraries that take one. It does not retry. */
  get fetch(): typeof fetch {
    const { trustedHosts } = this
    const dispatcher = this.connect()
    function fetchThroughStore(
      input: string | URL | Request,
      init?: RequestInit,
    ): Promise<Response> {
      const url = new URL(input instanceof Request ? input.url : input)
      checkSecure(url, trustedHosts)
      // Node's global fetch and undici's have types of two versions of the same thing.
      const options = { ...init, dispatcher } as Parameters<typeof undiciFetch>[1]
      return undiciFetch(url, options) as unknown as Promise<Response>
    }
    return fetchThroughStore as typeof fetch
  }

  /** Wait before attempt `attempt + 1`: what the server asks, else doubling with jitter. */
  async pause(attempt: number, signal?: AbortSignal, retryAfter?: string): Promise<void> {
    const doubled = this.retryDelayMs * 2 ** (attempt - 1) * (0.5 + Math.random())
    const seconds = Number(retryAfter)
    const asked = Number.isFinite(seconds) && retryAfter !== undefined ? seconds * 1000 : doubled
    const delayMs = Math.min(asked, LONGEST_RETRY_DELAY_MS)
    try {
      await sleep(delayMs, undefined, { signal: signal as AbortSignal })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
  }

  async close(): Promise<void> {
    await this.dispatcher?.destroy()
  }

  private connect(): Dispatcher {
    if (this.dispatcher !== undefined) return this.dispatcher
    const { options } = this
    const idleTimeoutMs = options.idleTimeoutMs ?? 60_000
    const certificates = options.certificates?.() ?? []
    this.dispatcher = new EnvHttpProxyAgent({
      // Empty and not undefined: undici would read the environment, which only `config` does.
      httpProxy: options.httpProxy ?? '',
      httpsProxy: options.httpsProxy ?? '',
      noProxy: options.noProxy ?? '',
      headersTimeout: idleTimeoutMs,
      bodyTimeout: idleTimeoutMs,
      connect: {
        timeout: options.connectTimeoutMs ?? 20_000,
        ...(certificates.length > 0 ? { ca: [...certificates] } : {}),
      },
    })
    return this.dispatcher
  }

  private async follow(first: URL, options: GetOptions): Promise<HttpResponse> {
    let url = first
    let headers: Record<string, string> = { 'user-agent': 'ingot', ...options.headers }
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      checkSecure(url, this.trustedHosts)
      const response = await this.send(url, headers, options.signal)
      const { location } = response.headers
      if (!REDIRECTS.includes(response.status) || location === undefined) return response
      await discard(response)
      const next = redirectTarget(url, location)
      if (next.origin !== url.origin) {
        const { authorization: _, ...others } = headers
        headers = others
      }
      url = next
    }
    const details = { url: shownUrl(first), limit: MAX_REDIRECTS, last: shownUrl(url) }
    throw storeError('STORE_TOO_MANY_REDIRECTS', { details })
  }

  private async send(
    url: URL,
    headers: Record<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<HttpResponse> {
    const dispatcher = this.connect()
    const target = new URL(url)
    // undici refuses URLs with credentials; index URLs of pip carry them.
    const login = loginHeader(target)
    const response = await undiciRequest(target, {
      dispatcher,
      headers: { ...login, ...headers },
      signal: signal ?? null,
    })
    const flat: Record<string, string> = {}
    for (const [name, value] of Object.entries(response.headers)) {
      if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value
    }
    return { status: response.statusCode, headers: flat, url, body: response.body }
  }
}

/** Read a body as text of at most `maxBytes`. */
export async function readText(response: HttpResponse, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let numBytes = 0
  try {
    for await (const chunk of response.body) {
      numBytes += (chunk as Buffer).length
      if (numBytes > maxBytes) {
        const details = { source: shownUrl(response.url), expected: maxBytes, got: numBytes }
        throw storeError('STORE_TOO_LARGE', { details })
      }
      chunks.push(chunk as Buffer)
    }
  } finally {
    response.body.destroy()
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Give up a response whose body nobody wants. */
export async function discard(response: HttpResponse): Promise<void> {
  // dump() reads small bodies, so that the connection can be used again, and cuts long ones.
  await response.body.dump().catch(() => response.body.destroy())
}

function redirectTarget(from: URL, location: string): URL {
  try {
    return new URL(location, from)
  } catch (cause) {
    const details = { url: shownUrl(from), expected: 'a redirect to a URL', got: 'a broken one' }
    throw storeError('STORE_BAD_RESPONSE', { details, cause })
  }
}

function loginHeader(url: URL): Record<string, string> {
  if (url.username === '' && url.password === '') return {}
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  url.username = ''
  url.password = ''
  return { authorization: `Basic ${Buffer.from(login).toString('base64')}` }
}

function badStatus(url: URL, status: number, attempts: number): Error {
  const next =
    status === 401 || status === 403
      ? 'the server wants other credentials'
      : status === 404 || status === 410
        ? 'check the address'
        : 'try again later'
  const details = { url: shownUrl(url), got: status, attempts, next }
  return storeError('STORE_HTTP_STATUS', { details })
}
