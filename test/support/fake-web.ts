/**
 * A real HTTP server on this machine that serves bytes as file hosts, package indexes and hubs do, and fails on demand.
 *
 * Files know Range, If-Range and ETag. Faults are queued by path and spent one a request, so a test reads as the story
 * of what went wrong. Every request is kept in `requests`.
 */

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** Ends the connection after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Answers the whole file although a range was asked. */
  | { readonly kind: 'no-range' }
  /** Sends so many bytes, then nothing more until the client goes. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** Closes before any answer. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'redirect'; readonly location: string }

export interface ServedFile {
  readonly bytes: Buffer
  readonly etag?: string | null
  readonly contentType?: string
  readonly headers?: Record<string, string>
  /** Without content-length. */
  readonly chunked?: boolean
}

export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
}

export class FakeWeb {
  readonly requests: SeenRequest[] = []
  readonly files: Map<string, ServedFile> = new Map()
  readonly faults: Map<string, Fault[]> = new Map()
  /** Tried before files; returns whether it answered. */
  handler: (request: IncomingMessage, response: ServerResponse, body: string) => boolean = () =>
    false
  private readonly server: Server

  constructor() {
    this.server = createServer((request, response) => void this.answer(request, response))
  }

  static async start(): Promise<FakeWeb> {
    const web = new FakeWeb()
    await new Promise<void>((resolve) => web.server.listen(0, '127.0.0.1', resolve))
    return web
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  serve(path: string, file: Buffer | ServedFile): string {
    this.files.set(path, Buffer.isBuffer(file) ? { bytes: file } : file)
    return `${this.origin}${path}`
  }

  fail(path: string, ...faults: Fault[]): void {
    this.faults.set(path, faults)
  }

  requestsOf(path: string): SeenRequest[] {
    return this.requests.filter((request) => request.path === path)
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://x').pathname)
    this.requests.push({ method: request.method ?? '', path, headers: request.headers })
    let body = ''
    for await (const chunk of request) body += chunk
    const fault = this.faults.get(path)?.shift()
    if (fault?.kind === 'reset') {
      request.socket.destroy()
      return
    }
    if (fault?.kind === 'redirect') {
      response.writeHead(302, { location: fault.location }).end()
      return
    }
    if (fault?.kind === 'status') {
      response.writeHead(fault.status, fault.headers).end('no')
      return
    }
    if (this.handler(request, response, body)) return
    const file = this.files.get(path)
    if (file === undefined) response.writeHead(404).end()
    else sendFile(request, response, file, fault)
  }
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  file: ServedFile,
  fault: Fault | undefined,
): void {
  const etag = file.etag === undefined ? `"${sha256(file.bytes).slice(0, 16)}"` : file.etag
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const ifRange = request.headers['if-range']
  const obeysRange =
    range !== null && fault?.kind !== 'no-range' && (ifRange === undefined || ifRange === etag)
  const total = file.bytes.length
  const start = obeysRange ? Number(range[1]) : 0
  if (obeysRange && start >= total) {
    response.writeHead(416, { 'content-range': `bytes */${total}` }).end()
    return
  }
  const end = obeysRange && range[2] !== '' ? Math.min(Number(range[2]) + 1, total) : total
  const body = file.bytes.subarray(start, end)
  response.writeHead(obeysRange ? 206 : 200, {
    'content-type': file.contentType ?? 'application/octet-stream',
    ...(file.chunked ? {} : { 'content-length': body.length }),
    ...(etag === null ? {} : { etag }),
    ...(obeysRange ? { 'content-range': `bytes ${start}-${end - 1}/${total}` } : {}),
    ...file.headers,
  })
  if (fault?.kind === 'cut') {
    response.write(body.subarray(0, fault.afterBytes), () => request.socket.destroy())
  } else if (fault?.kind === 'stall') {
    response.write(body.subarray(0, fault.afterBytes))
  } else {
    response.end(body)
  }
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
