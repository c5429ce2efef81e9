import { afterEach, expect, it } from 'vitest'
import { ManualTimers } from '../support/manual-timers.ts'
import { Gate, RawConnection } from '../support/raw-http.ts'
import { listen, sseData, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
const connections: RawConnection[] = []
afterEach(async () => {
  for (const connection of connections.splice(0)) connection.hangUp()
  await server.app.close()
})

const chatBody = { model: 'fake', messages: [{ role: 'user', content: 'w1' }], seed: 5 }
const CHAT = '/v1/chat/completions'

async function streaming(): Promise<{
  connection: RawConnection
  gate: Gate
  timers: ManualTimers
  base: string
}> {
  const gate = new Gate()
  const timers = new ManualTimers()
  server = testServer({ script: { pace: gate.pass }, parts: { timers, clock: timers.clock } })
  const base = await listen(server.app)
  const connection = new RawConnection(base)
  connections.push(connection)
  connection.post(CHAT, { ...chatBody, stream: true })
  await expect.poll(() => gate.numWaiting).toBe(1)
  return { connection, gate, timers, base }
}

it('a drain refuses what is new, says so in /health, and lets a stream finish within the grace period', async () => {
  const { connection, gate, base } = await streaming()
  let isDown = false
  const down = server.app.shutdown(30_000).then(() => {
    isDown = true
  })
  const health = await fetch(`${base}/health`)
  expect([health.status, (await health.json()).status]).toEqual([503, 'draining'])
  const refused = await fetch(`${base}${CHAT}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(chatBody),
  })
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('5')
  expect(refused.headers.get('connection')).toBe('close')
  expect((await refused.json()).error).toMatchObject({
    type: 'server_error',
    code: 'service_unavailable',
  })
  expect(isDown).toBe(false)
  gate.open(100)
  await down
  await expect.poll(() => connection.text).toContain('data: [DONE]')
  expect(server.audit.records.map(({ outcome, errorCode }) => [outcome, errorCode])).toEqual([
    ['refused', 'SERVER_DRAINING'],
    ['completed', null],
  ])
  await expect(fetch(`${base}/health`)).rejects.toThrow()
})

it('what outlives the grace period gets an error event, no [DONE], and a record', async () => {
  const { connection, gate, timers } = await streaming()
  gate.open(2)
  await expect.poll(() => connection.text).toContain(' w12')
  const down = server.app.shutdown(5_000)
  timers.advance(5_000)
  await down
  await expect.poll(() => connection.isClosed || connection.text.endsWith('0\r\n\r\n')).toBe(true)
  const frames = connection.text.split('\r\n').filter((line) => line.includes('data: '))
  expect(sseData(frames.join('\n\n')).at(-1)).toMatchObject({
    error: { type: 'server_error', code: 'service_unavailable' },
  })
  expect(connection.text).not.toContain('[DONE]')
  expect(server.deployments.numCancelled).toBe(1)
  expect(server.audit.records).toEqual([
    expect.objectContaining({
      outcome: 'failed',
      httpStatus: 200,
      errorCode: 'SERVER_SHUT_DOWN',
      completionTokens: 2,
      finishReasons: ['error'],
    }),
  ])
})

it('an answer that is not streamed gets a status when the grace period is over', async () => {
  const gate = new Gate()
  const timers = new ManualTimers()
  server = testServer({ script: { pace: gate.pass }, parts: { timers } })
  const base = await listen(server.app)
  const answer = fetch(`${base}${CHAT}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(chatBody),
  })
  await expect.poll(() => gate.numWaiting).toBe(1)
  const down = server.app.shutdown(100)
  timers.advance(100)
  const response = await answer
  expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
  await down
})

it('a client that does not read cannot hold the process', async () => {
  const timers = new ManualTimers()
  const pieces = Array.from({ length: 2000 }, () => 'x'.repeat(20_000))
  server = testServer({ script: { pieces, naturalLength: 2000 }, parts: { timers } })
  const base = await listen(server.app)
  const connection = new RawConnection(base)
  connections.push(connection)
  connection.post(CHAT, { ...chatBody, stream: true })
  await expect.poll(() => connection.hasHead).toBe(true)
  connection.socket.pause()
  await expect.poll(async () => server.deployments.numRunning).toBe(1)
  const down = server.app.shutdown(1000)
  timers.advance(1000)
  await expect.poll(() => server.audit.records).toHaveLength(1)
  timers.advance(1000)
  await down
})

it('an idle server is down at once', async () => {
  server = testServer()
  const base = await listen(server.app)
  await fetch(`${base}/health`)
  await server.app.shutdown(30_000)
})

it('a connection that never carried a request cannot hold the process', async () => {
  const timers = new ManualTimers()
  server = testServer({ parts: { timers } })
  const connection = new RawConnection(await listen(server.app))
  connections.push(connection)
  await expect.poll(() => connection.socket.readyState).toBe('open')
  const down = server.app.shutdown(30_000)
  // Drained at once; then the farewell passes, long before the grace period.
  await expect.poll(() => server.app.server.listening).toBe(false)
  timers.advance(1000)
  await down
})
