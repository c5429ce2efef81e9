import { afterEach, describe, expect, it } from 'vitest'
import { deploymentErrorLike } from '../support/deployment-errors.ts'
import { ManualTimers } from '../support/manual-timers.ts'
import { Gate, RawConnection } from '../support/raw-http.ts'
import {
  listen,
  sseData,
  type TestServer,
  type TestServerOptions,
  testServer,
} from '../support/test-server.ts'

let server: TestServer
let connection: RawConnection

const CHAT = '/v1/chat/completions'
const body = { model: 'fake', messages: [{ role: 'user', content: 'w1' }], seed: 5 }

async function ask(stream: boolean, options: TestServerOptions): Promise<void> {
  server = testServer(options)
  connection = new RawConnection(await listen(server.app))
  connection.post(CHAT, { ...body, stream })
}

afterEach(async () => {
  connection.hangUp()
  await server.app.close()
})

describe('a request to a model that is being loaded', () => {
  it('streams: headers leave at once, comments while it waits, the answer afterwards', async () => {
    const gate = new Gate()
    const timers = new ManualTimers()
    await ask(true, {
      script: { loading: gate.pass },
      config: { sseKeepAliveMs: 1000 },
      parts: { timers, clock: timers.clock },
    })
    await expect.poll(() => connection.hasHead).toBe(true)
    expect(connection.head).toMatch(/^HTTP\/1\.1 200/)
    timers.advance(1000)
    await expect.poll(() => connection.text).toContain(': keep-alive\n\n')
    expect(connection.text).not.toContain('data:')
    gate.open()
    await expect.poll(() => connection.text).toContain('data: [DONE]')
  })

  it('streams: a refusal after the wait is the last event, and the record says that it failed', async () => {
    const gate = new Gate()
    const refusal = deploymentErrorLike('notReady')
    await ask(true, { script: { loading: gate.pass, refusal } })
    await expect.poll(() => connection.hasHead).toBe(true)
    gate.open()
    await expect.poll(() => server.audit.records).toHaveLength(1)
    await expect.poll(() => connection.text).toContain('service_unavailable')
    expect(connection.text).not.toContain('[DONE]')
    expect(server.audit.records[0]).toMatchObject({
      outcome: 'failed',
      httpStatus: 200,
      errorCode: 'DEPLOYMENT_NOT_READY',
    })
  })

  it('whole: nothing is sent while it waits, and a refusal keeps its status', async () => {
    const gate = new Gate()
    await ask(false, {
      script: { loading: gate.pass, refusal: deploymentErrorLike('notReady') },
    })
    await expect.poll(() => gate.numWaiting).toBe(1)
    expect(connection.hasHead).toBe(false)
    gate.open()
    await expect.poll(() => connection.hasHead).toBe(true)
    expect(connection.head).toMatch(/^HTTP\/1\.1 503/)
  })

  it('is given up when the client hangs up, and the record says so', async () => {
    const gate = new Gate()
    await ask(true, { script: { loading: gate.pass } })
    await expect.poll(() => connection.hasHead).toBe(true)
    connection.hangUp()
    await expect.poll(() => server.audit.records).toHaveLength(1)
    expect(server.audit.records[0]).toMatchObject({
      outcome: 'cancelled',
      errorCode: 'SERVER_CLIENT_GONE',
    })
    expect(sseData(connection.text)).toEqual([])
  })
})
