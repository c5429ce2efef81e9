/**
 * The commands' way to a running server: one request, its JSON or an error that says what to do next.
 *
 * Owns nothing. The address and the token come from the settings, so what `serve` was told holds here too.
 */

import { loadConfig } from '../../config/load-config.ts'
import { cliError } from '../errors.ts'

export interface AdminClient {
  /** Without a slash at its end. */
  readonly url: string
  /**
   * @param path - from `/v1` on, escaped
   * @returns the body; `null` when there is none
   * @throws ServingError CLI_NO_SERVER, CLI_SERVER_REFUSED, CLI_NOT_INGOT
   */
  request(method: Method, path: string, body?: object): Promise<unknown>
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

const ANY_ADDRESS = new Set(['0.0.0.0', '::', '[::]'])

/** @param asked - `--url`; else where `ingot serve` listens with the same settings */
export function adminClient(asked: string | undefined): AdminClient {
  const { server } = loadConfig({ configFile: undefined, flags: {} }).config
  const url = (asked === undefined ? ownUrl(server) : checkedUrl(asked)).replace(/\/+$/, '')
  const { adminToken } = server
  return { url, request: (method, path, body) => send({ url, adminToken, method, path, body }) }
}

function ownUrl({ host, port }: { readonly host: string; readonly port: number }): string {
  const name = ANY_ADDRESS.has(host) ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `http://${name}:${port === 0 ? 8000 : port}`
}

function checkedUrl(text: string): string {
  try {
    const { protocol, origin, pathname } = new URL(text)
    if (protocol === 'http:' || protocol === 'https:') {
      // The base URL of other clients ends so, and people copy it.
      return `${origin}${pathname.replace(/\/v1\/?$/, '')}`
    }
  } catch {
    // Told below, as any other text that is no address.
  }
  throw cliError('CLI_BAD_ARGUMENT', {
    param: '--url',
    details: {
      expected: '--url to be an address such as http://127.0.0.1:8000',
      got: JSON.stringify(text.slice(0, 100)),
      next: 'correct it, or leave it out for the server on this machine',
    },
  })
}

interface Sending {
  readonly url: string
  readonly adminToken: string | null
  readonly method: Method
  readonly path: string
  readonly body: object | undefined
}

async function send({ url, adminToken, method, path, body }: Sending): Promise<unknown> {
  const headers = {
    ...(adminToken === null ? {} : { authorization: `Bearer ${adminToken}` }),
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
  }
  const json = body === undefined ? null : JSON.stringify(body)
  let response: Response
  let text: string
  try {
    response = await fetch(`${url}${path}`, { method, headers, body: json, redirect: 'error' })
    text = await response.text()
  } catch (cause) {
    throw cliError('CLI_NO_SERVER', {
      param: '--url',
      details: { url, got: reasonOf(cause) },
      cause,
    })
  }
  const { status } = response
  const answer = parsed(text)
  if (status === 204) return null
  if (response.ok && answer !== undefined) return answer
  const error = (answer as { error?: { message?: unknown } } | undefined)?.error
  if (typeof error?.message !== 'string') {
    const got = `status ${status} and ${text.length} characters of something else`
    throw cliError('CLI_NOT_INGOT', { param: '--url', details: { url, got } })
  }
  const details = { url, status, message: error.message.replace(/\.$/, '') }
  throw cliError('CLI_SERVER_REFUSED', { details })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** `fetch failed` says nothing; what it wraps does. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  const { code } = (cause ?? {}) as { code?: string }
  if (code === 'ECONNREFUSED') return 'nobody listens there'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'a host name that cannot be resolved'
  return code ?? (cause instanceof Error ? cause.message : message)
}
