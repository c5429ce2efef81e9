/**
 * Answers connections on which no request could be read: broken HTTP, oversized headers, headers that never end. There
 * is no request and no reply object then, only a socket. Owns nothing.
 */

import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { toErrorAnswer } from './error-mapping.ts'
import { serverError } from './errors.ts'
import { requestIdFor } from './request-id.ts'

export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // A reset is not an error that anybody could be told of.
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const requestId = requestIdFor({})
  const { status, body } = toErrorAnswer(errorFor(error.code), {
    requestId,
    retryAfterSeconds: 0,
    maxBodyBytes: 0,
  })
  const json = JSON.stringify(body)
  if (!socket.writable) {
    socket.destroy(error)
    return
  }
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(json)}`,
      `x-request-id: ${requestId}`,
      'connection: close',
      '',
      json,
    ].join('\r\n'),
  )
}

function errorFor(code: string | undefined): Error {
  if (code === 'HPE_HEADER_OVERFLOW') return serverError('SERVER_HEADERS_TOO_LARGE')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return serverError('SERVER_REQUEST_TIMEOUT')
  return serverError('SERVER_BAD_HTTP', { details: { reason: code ?? 'it cannot be parsed' } })
}
