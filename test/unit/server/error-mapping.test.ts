import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { InvariantError, reviveServingError, ServingError } from '../../../src/base/errors.ts'
import { answerClientError } from '../../../src/server/client-error.ts'
import { toErrorAnswer } from '../../../src/server/error-mapping.ts'
import { serverError } from '../../../src/server/errors.ts'
import { describe as describeValue, paramName } from '../../../src/server/validation-error.ts'

const setting = { requestId: 'req_1', retryAfterSeconds: 5, maxBodyBytes: 10 }

function made(status: number, options: { param?: string; retryAfterSeconds?: number } = {}) {
  return new ServingError(
    'ROOM_WHAT',
    { status, retryable: false, message: 'a thing failed' },
    options,
  )
}

describe('an error of ours', () => {
  it.each([
    [400, 'invalid_request_error', 'invalid_value'],
    [401, 'authentication_error', 'invalid_api_key'],
    [403, 'permission_error', 'permission_denied'],
    [409, 'invalid_request_error', 'conflict'],
    [404, 'invalid_request_error', 'not_found'],
    [422, 'invalid_request_error', null],
    [429, 'rate_limit_error', 'rate_limit_exceeded'],
    [500, 'server_error', 'server_error'],
    [503, 'server_error', 'service_unavailable'],
  ])('of status %i has type %s and code %s when nothing better is known', (status, type, code) => {
    expect(toErrorAnswer(made(status), setting)).toMatchObject({
      status,
      body: { error: { message: 'A thing failed.', type, param: null, code } },
    })
  })

  it('names its parameter in snake_case, as it is on the wire', () => {
    const answer = toErrorAnswer(made(400, { param: 'repetitionPenalty' }), setting)
    expect(answer.body.error.param).toBe('repetition_penalty')
  })

  it('says when to come back in whole seconds, rounded up', () => {
    const retryAfter = (status: number, retryAfterSeconds?: number) =>
      toErrorAnswer(
        made(status, retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
        setting,
      ).headers['retry-after']
    expect([
      retryAfter(429, 0.2),
      retryAfter(503, 7),
      retryAfter(503),
      retryAfter(500),
      retryAfter(400),
    ]).toEqual(['1', '7', '5', undefined, undefined])
  })

  it('that came from another process is the same', () => {
    const revived = reviveServingError(made(429, { retryAfterSeconds: 3 }).toWire())
    expect(toErrorAnswer(revived, setting).headers).toEqual({ 'retry-after': '3' })
  })

  it('keeps a parameter’s name at its beginning as it is', () => {
    const error = new ServingError('X_Y', {
      status: 400,
      retryable: false,
      message: 'stop: too long',
    })
    expect(toErrorAnswer(error, setting).body.error.message).toBe('stop: too long.')
  })
})

describe('a fault of ours', () => {
  it.each([
    new Error('secret'),
    new InvariantError('I1', 'secret'),
    'secret',
    null,
    undefined,
    7,
    {},
  ])('%s tells nothing but the request id', (fault) => {
    const { status, body } = toErrorAnswer(fault, setting)
    expect(status).toBe(500)
    expect(body.error.message).toContain('req_1')
    expect(body.error.message).not.toContain('secret')
  })
})

describe('a connection without a request', () => {
  function answered(code: string, socket = new Socket()): { text: string; socket: Socket } {
    let text = ''
    Object.defineProperty(socket, 'writable', { value: true })
    socket.end = ((data: string) => {
      text = data
      return socket
    }) as Socket['end']
    answerClientError(Object.assign(new Error(code), { code }), socket)
    return { text, socket }
  }

  it.each([
    ['ERR_HTTP_REQUEST_TIMEOUT', 'HTTP/1.1 408 Request Timeout', 'request_timeout'],
    ['HPE_HEADER_OVERFLOW', 'HTTP/1.1 431 Request Header Fields Too Large', null],
    ['HPE_INVALID_METHOD', 'HTTP/1.1 400 Bad Request', 'invalid_http'],
  ])('%s is answered with %s', (code, line, apiCode) => {
    const { text } = answered(code)
    const [head, body] = text.split('\r\n\r\n') as [string, string]
    expect(head.startsWith(`${line}\r\n`)).toBe(true)
    expect(head).toContain(`content-length: ${Buffer.byteLength(body)}`)
    expect(head).toContain('connection: close')
    expect(JSON.parse(body).error.code).toBe(apiCode)
  })

  it('that was reset is not answered', () => {
    expect(answered('ECONNRESET').text).toBe('')
  })

  it('that is closed already is not written to', () => {
    const socket = new Socket()
    socket.destroy()
    expect(answered('HPE_INVALID_METHOD', socket).text).toBe('')
  })
})

it('parameters are named as a caller writes them', () => {
  expect(paramName('/messages/0/content/12/type')).toBe('messages[0].content[12].type')
  expect(paramName('/logit_bias/5')).toBe('logit_bias[5]')
  expect(paramName('/a~1b/~0c')).toBe('a/b.~c')
  expect(paramName('')).toBe('')
  expect(paramName(`/${'x'.repeat(500)}`).length).toBeLessThan(130)
})

it('values are described without repeating a caller’s text', () => {
  expect([null, undefined, 'secret', [1], { a: 1 }, 0.5, true].map(describeValue)).toEqual([
    'null',
    'nothing',
    'a string of length 6',
    'an array of length 1',
    'an object',
    '0.5',
    'true',
  ])
})

it('every code of the table makes an error with its own status', () => {
  expect(serverError('SERVER_CLIENT_GONE')).toMatchObject({
    status: 499,
    code: 'SERVER_CLIENT_GONE',
  })
})
