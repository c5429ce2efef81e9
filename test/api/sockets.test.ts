import { afterEach, describe, expect, it } from 'vitest'
import { ManualTimers } from '../support/manual-timers.ts'
import { Gate, RawConnection } from '../support/raw-http.ts'
import {
  listen,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/test-server.ts'

let server: TestServer
let base: string
const connections: RawConnection[] = []

async function start(options: TestServerOptions = {}): Promise<void> {
  server = testServer(options)
  base = await listen(server.app)
}

function dial(): RawConnection {
  const connection = new RawConnection(base)
  connections.push(connection)
  return connection
}

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.hangUp()
  await server.app.close()
})

const chatBody = { model: 'fake', messages: [{ role: 'user', content: 'w1' }], seed: 5 }
const CHAT = '/v1/chat/completions'

describe('a stream on a socket', () => {
  it('flushes its headers and the role before any token exists', async () => {
    const gate = new Gate()
    await start({ script: { pace: gate.pass } })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream: true })
    await expect.poll(() => connection.text).toContain('"role":"assistant"')
    expect(gate.numWaiting).toBe(1)
    const head = connection.head.toLowerCase()
    expect(head).toContain('http/1.1 200 ok')
    expect(head).toContain('content-type: text/event-stream; charset=utf-8')
    expect(head).toContain('cache-control: no-cache, no-transform')
    expect(head).toContain('x-accel-buffering: no')
    expect(head).toMatch(/x-request-id: req_[0-9a-f]{32}/)
    expect(head).toMatch(/openai-processing-ms: \d+/)
    gate.open(100)
    await expect.poll(() => connection.text).toContain('data: [DONE]\n\n')
  })

  it('sends the deltas of one engine step as one write', async () => {
    const gate = new Gate()
    await start({ script: { pace: gate.pass } })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream: true, n: 8 })
    await expect.poll(() => gate.numWaiting).toBe(1)
    await expect.poll(() => connection.text.split('"role"').length).toBe(9)
    const numReads = connection.reads.length
    gate.open()
    await expect.poll(() => connection.reads.length).toBe(numReads + 1)
    // One HTTP chunk: its length line, eight frames, a line break.
    const step = connection.reads.at(-1) as string
    expect(step.match(/data: \{/g)).toHaveLength(8)
    expect(step).toMatch(/^[0-9a-f]+\r\ndata: [\s\S]*\n\n\r\n$/)
    gate.open(100)
    await expect.poll(() => connection.text).toContain('[DONE]')
  })

  it('sends a comment when it was silent for the interval, and only then', async () => {
    const gate = new Gate()
    const timers = new ManualTimers()
    await start({
      script: { pace: gate.pass },
      config: { sseKeepAliveMs: 10_000 },
      parts: { timers, clock: timers.clock },
    })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream: true })
    await expect.poll(() => connection.text).toContain('"role"')
    const comments = () => connection.text.split(': keep-alive\n\n').length - 1
    timers.advance(9_999)
    expect(comments()).toBe(0)
    timers.advance(1)
    await expect.poll(comments).toBe(1)
    timers.advance(5_000)
    gate.open()
    await expect.poll(() => connection.text).toContain(' w5')
    timers.advance(5_000)
    expect(timers.numPending).toBe(1)
    timers.advance(4_999)
    await new Promise((resolve) => setImmediate(resolve))
    expect(comments()).toBe(1)
    timers.advance(1)
    await expect.poll(comments).toBe(2)
    gate.open(100)
    await expect.poll(() => connection.text).toContain('[DONE]')
    expect(timers.numPending).toBe(0)
  })

  it('sends none when the interval is 0', async () => {
    const gate = new Gate()
    const timers = new ManualTimers()
    await start({ script: { pace: gate.pass }, config: { sseKeepAliveMs: 0 }, parts: { timers } })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream: true })
    await expect.poll(() => connection.text).toContain('"role"')
    expect(timers.numPending).toBe(0)
    gate.open(100)
    await expect.poll(() => connection.text).toContain('[DONE]')
  })

  it('pulls no further events while the client does not read, and goes on when it does', async () => {
    let numSteps = 0
    const pieces = Array.from({ length: 2000 }, () => 'x'.repeat(20_000))
    const pace = async () => {
      numSteps += 1
    }
    await start({ script: { pieces, naturalLength: pieces.length, pace } })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream: true })
    await expect.poll(() => connection.hasHead).toBe(true)
    connection.socket.pause()
    // Both socket buffers fill, then the steps stop; 40 MB do not fit them.
    let before = -1
    await expect
      .poll(
        () => {
          const isStill = numSteps === before
          before = numSteps
          return isStill
        },
        { interval: 100 },
      )
      .toBe(true)
    expect(numSteps).toBeLessThan(pieces.length)
    connection.socket.resume()
    await expect.poll(() => connection.text.endsWith('0\r\n\r\n'), { timeout: 10_000 }).toBe(true)
    expect(numSteps).toBe(pieces.length)
    expect(connection.text).toContain('data: [DONE]')
  })
})

describe('a client that hangs up', () => {
  it.each([
    ['while it waits for its first token', true, 0],
    ['in the middle of a stream', true, 3],
    ['on an answer that is not streamed', false, 2],
  ])('%s cancels at once and leaves a record', async (_when, stream, numSteps) => {
    const gate = new Gate()
    await start({ script: { pace: gate.pass } })
    const connection = dial()
    connection.post(CHAT, { ...chatBody, stream, n: 2 })
    gate.open(numSteps)
    await expect.poll(() => gate.numWaiting).toBe(1)
    expect(server.deployments.numRunning).toBe(1)
    connection.hangUp()
    await expect.poll(() => server.deployments.numCancelled).toBe(1)
    await expect.poll(() => server.audit.records).toHaveLength(1)
    expect(server.audit.records[0]).toMatchObject({
      outcome: 'cancelled',
      httpStatus: stream ? 200 : 499,
      errorCode: 'SERVER_CLIENT_GONE',
      isStreamed: stream,
      promptTokens: 1,
      completionTokens: 2 * numSteps,
      finishReasons: ['cancelled', 'cancelled'],
    })
    gate.open(100)
    const text = await server.metrics.registry.metrics()
    expect(text).toContain('finished_reason="abort"} 2')
    await expect
      .poll(async () =>
        (await server.metrics.registry.metrics()).includes('generation_requests_open 0'),
      )
      .toBe(true)
  })

  it('cancels every prompt of a list', async () => {
    const gate = new Gate()
    await start({ script: { pace: gate.pass } })
    const connection = dial()
    connection.post('/v1/completions', { model: 'fake', prompt: ['a', 'b', 'c'], stream: true })
    await expect.poll(() => gate.numWaiting).toBe(3)
    connection.hangUp()
    await expect.poll(() => server.deployments.numCancelled).toBe(3)
  })

  it('before the whole body came leaves nothing behind', async () => {
    await start()
    const connection = dial()
    connection.socket.write(
      `POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"model"`,
    )
    await expect
      .poll(
        async () =>
          new Promise((resolve) =>
            server.app.server.getConnections((_error, count) => resolve(count)),
          ),
      )
      .toBe(1)
    connection.hangUp()
    await expect
      .poll(
        async () =>
          new Promise((resolve) =>
            server.app.server.getConnections((_error, count) => resolve(count)),
          ),
      )
      .toBe(0)
    expect(server.audit.entries).toEqual([])
  })
})

describe('what is not HTTP', () => {
  it.each([
    ['garbage', 'hello\r\n\r\n', 400, 'invalid_http'],
    ['headers without end', `GET / HTTP/1.1\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, 431, null],
    [
      'two lengths',
      `POST ${CHAT} HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}`,
      400,
      'invalid_http',
    ],
  ])(
    '%s is answered in the error shape, and the connection closed',
    async (_what, bytes, status, code) => {
      await start()
      const connection = dial()
      connection.socket.write(bytes)
      await expect.poll(() => connection.isClosed).toBe(true)
      expect(connection.head).toContain(`HTTP/1.1 ${status} `)
      expect(connection.head).toMatch(/x-request-id: req_/)
      const body = JSON.parse(connection.text.split('\r\n\r\n')[1] as string)
      expect(body.error).toMatchObject({ type: 'invalid_request_error', code })
    },
  )
})
