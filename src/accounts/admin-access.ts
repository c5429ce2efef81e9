/**
 * Who may administer the server until accounts exist: whoever knows the admin token, or, where none is set, programs on
 * the same machine. Owns nothing, keeps no token.
 *
 * I1 without a token nothing is allowed that a stranger can bring about: not from another address, not through a proxy
 *    that runs here, and not by a web page in a browser that runs here, be it by a form (`Origin`) or by a host name that
 *    was pointed at the loopback (`Host`).
 * I2 a token is compared in a time that does not depend on where it differs.
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import { accountsError } from './errors.ts'
import { type Principal, principalOf } from './principal.ts'

export interface AdminCaller {
  /** Of the socket; what headers claim does not count. */
  readonly remoteAddress: string | undefined
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
}

/** What proxies add; one on this machine would make everybody local. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via']
const LOOPBACK = /^(?:::1|(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/
/** An address or `localhost`: names that nobody can point elsewhere. */
const SAFE_HOST = /^(?:(?:[\w-]+\.)*localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[\da-f:.]+\])(?::\d+)?$/i

/**
 * @param adminToken - the server's setting; `null` = none is set
 * @returns who it is, for the history of changes
 * @throws ServingError ACCOUNTS_ADMIN_TOKEN, ACCOUNTS_ADMIN_NOT_LOCAL
 */
export function admitAdmin(caller: AdminCaller, adminToken: string | null): Principal {
  const { authorization, 'x-api-key': apiKey } = caller.headers
  const principal = principalOf(textOf(authorization), textOf(apiKey))
  if (adminToken === null) {
    const got = strangeness(caller)
    if (got !== null) throw accountsError('ACCOUNTS_ADMIN_NOT_LOCAL', { details: { got } })
    return principal
  }
  // Both are digests of the same length, so that neither length nor prefix shows.
  if (isSame(principal, principalOf(`Bearer ${adminToken}`))) return principal
  const got = principal === principalOf(undefined) ? 'none' : 'another one'
  throw accountsError('ACCOUNTS_ADMIN_TOKEN', { details: { got } })
}

/** Why a request may come from somewhere else, or `null`. */
function strangeness({ remoteAddress, headers }: AdminCaller): string | null {
  if (!LOOPBACK.test(remoteAddress ?? '')) return 'came from another address'
  const proxy = PROXY_HEADERS.find((name) => headers[name] !== undefined)
  if (proxy !== undefined) return `came through a proxy (header ${proxy})`
  const host = textOf(headers.host) ?? ''
  if (!SAFE_HOST.test(host)) return 'names a host that is neither localhost nor an address'
  const origin = textOf(headers.origin)
  if (origin !== undefined && origin !== `http://${host}`) return 'came from a web page'
  const site = textOf(headers['sec-fetch-site'])
  if (site === 'cross-site' || site === 'same-site') return 'came from a web page'
  return null
}

function isSame(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}

function textOf(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'object' ? header.join(', ') : header
}
