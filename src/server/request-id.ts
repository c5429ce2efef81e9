/**
 * Ids of requests and answers. The request id comes back as `x-request-id` and stands in log and audit record; a caller
 * may choose it, so it need not be unique. An answer's id (`chatcmpl-…`) is always ours. Owns nothing.
 */

import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { RequestId } from '../base/ids.ts'

/** Printable ASCII that needs no quoting in a log line or a header; as long as OpenAI allows. */
const SANE_ID = /^[A-Za-z0-9._:+=@/-]{1,128}$/

/** The caller's id when it can be echoed safely, otherwise a new one. */
export function requestIdFor(headers: IncomingHttpHeaders): string {
  for (const value of [headers['x-request-id'], headers['x-client-request-id']]) {
    if (typeof value === 'string' && SANE_ID.test(value)) return value
  }
  return `req_${randomHex()}`
}

/** @param prefix - `chatcmpl` or `cmpl` */
export function newResponseId(prefix: string): RequestId {
  return `${prefix}-${randomHex()}` as RequestId
}

function randomHex(): string {
  return randomUUID().replaceAll('-', '')
}
