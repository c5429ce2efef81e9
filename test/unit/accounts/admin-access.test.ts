import { describe, expect, it } from 'vitest'
import { type AdminCaller, admitAdmin } from '../../../src/accounts/admin-access.ts'
import type { ServingError } from '../../../src/base/errors.ts'

const TOKEN = 'a-token-of-some-length'

function caller(
  remoteAddress: string | undefined,
  headers: AdminCaller['headers'] = {},
): AdminCaller {
  return { remoteAddress, headers: { host: '127.0.0.1:8000', ...headers } }
}

function refused(who: AdminCaller, token: string | null): Pick<ServingError, 'code' | 'status'> {
  try {
    admitAdmin(who, token)
  } catch (error) {
    const { code, status } = error as ServingError
    return { code, status }
  }
  throw new Error('it was admitted')
}

describe('without an admin token', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])('%s administers', (address) => {
    expect(admitAdmin(caller(address), null)).toBe('local')
  })

  it.each([
    'localhost',
    'localhost:8000',
    'ingot.localhost:8000',
    '127.0.0.1',
    '[::1]:8000',
    '0.0.0.0:8000',
  ])('a caller from here that asks for %s administers', (host) => {
    expect(admitAdmin(caller('127.0.0.1', { host }), null)).toBe('local')
  })

  it.each([
    ['another address', '10.0.0.7', {}],
    ['an address that only looks like the loopback', '127.0.0.1.example', {}],
    ['an address that is not known', undefined, {}],
    ['a proxy on this machine', '127.0.0.1', { 'x-forwarded-for': '10.0.0.7' }],
    ['another kind of proxy', '127.0.0.1', { forwarded: 'for=10.0.0.7' }],
    ['a name pointed at the loopback', '127.0.0.1', { host: 'evil.example:8000' }],
    ['such a name that begins like it', '127.0.0.1', { host: 'localhost.evil.example' }],
    ['no host', '127.0.0.1', { host: undefined }],
    ['a form of a web page', '127.0.0.1', { origin: 'https://evil.example' }],
    ['a sandboxed page', '127.0.0.1', { origin: 'null' }],
    ['an image of a web page', '127.0.0.1', { 'sec-fetch-site': 'cross-site' }],
  ] as const)('%s does not administer', (_, address, headers) => {
    const answer = { code: 'ACCOUNTS_ADMIN_NOT_LOCAL', status: 403 }
    expect(refused(caller(address, headers), null)).toEqual(answer)
  })

  it('a page that this server serves may, and a key that comes along is the principal', () => {
    const headers = { origin: 'http://127.0.0.1:8000', authorization: `Bearer ${TOKEN}` }
    expect(admitAdmin(caller('127.0.0.1', headers), null)).toMatch(/^key:[0-9a-f]{32}$/)
  })
})

describe('with an admin token', () => {
  it('who sends it administers from anywhere, known by its digest', () => {
    const bearer = admitAdmin(caller('10.0.0.7', { authorization: `Bearer ${TOKEN}` }), TOKEN)
    expect(bearer).toMatch(/^key:[0-9a-f]{32}$/)
    expect(admitAdmin(caller('10.0.0.7', { 'x-api-key': TOKEN }), TOKEN)).toBe(bearer)
  })

  it.each([
    ['no token', {}],
    ['another token', { authorization: 'Bearer another-token-of-length' }],
    ['the beginning of it', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }],
    ['another scheme', { authorization: `Basic ${TOKEN}` }],
  ])('%s does not administer, also from this machine', (_, headers) => {
    const answer = { code: 'ACCOUNTS_ADMIN_TOKEN', status: 401 }
    expect(refused(caller('127.0.0.1', headers), TOKEN)).toEqual(answer)
  })
})
