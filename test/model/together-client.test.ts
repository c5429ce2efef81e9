/** Together's official client drives an endpoint's whole life against the real server, with real weights behind it. */

import Together from 'together-ai'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { modelPath } from '../support/model-path.ts'
import { ServerProcess } from '../support/server-process.ts'

let server: ServerProcess
let client: Together
beforeAll(async () => {
  server = await ServerProcess.start()
  client = new Together({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
afterAll(() => server.stop())

type Endpoint = Awaited<ReturnType<typeof client.endpoints.retrieve>>

async function untilState(id: string, state: Endpoint['state']): Promise<Endpoint> {
  const deadlineMs = performance.now() + 60_000
  for (;;) {
    const endpoint = await client.endpoints.retrieve(id)
    if (endpoint.state === state) return endpoint
    if (performance.now() > deadlineMs) throw new Error(`still ${endpoint.state}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

it('creates, lists, gets, stops, starts, asks, scales and deletes', async () => {
  const model = await modelPath()
  const { data: hardware } = await client.endpoints.listHardware({ model })
  expect(hardware[0]).toMatchObject({
    id: expect.stringMatching(/^cpu_1x_[a-z0-9_]+$/),
    availability: { status: 'available' },
  })
  const created = await client.endpoints.create({
    model,
    hardware: hardware[0]?.id ?? '',
    autoscaling: { min_replicas: 1, max_replicas: 1 },
    display_name: 'For the test',
    inactive_timeout: 30,
  })
  const { id, name } = created
  const started = await untilState(id, 'STARTED')
  expect(started).toEqual({ ...created, state: 'STARTED' })
  const { data: listed } = await client.endpoints.list({ type: 'dedicated' })
  expect(listed.map((endpoint) => endpoint.id)).toContain(id)

  const ask = () =>
    client.chat.completions.create({
      model: name,
      messages: [{ role: 'user', content: 'Name three rivers.' }],
      max_tokens: 12,
      temperature: 0,
    })
  const first = await ask()
  expect(first.choices[0]?.finish_reason).toBe('length')

  await client.endpoints.update(id, { state: 'STOPPED' })
  await untilState(id, 'STOPPED')
  await expect(ask()).rejects.toMatchObject({ status: 503 })

  await client.endpoints.update(id, { state: 'STARTED' })
  await untilState(id, 'STARTED')
  const again = await ask()
  expect(again.choices[0]?.message?.content).toBe(first.choices[0]?.message?.content)

  const autoscaling = { min_replicas: 0, max_replicas: 2 }
  const scaled = await client.endpoints.update(id, { autoscaling })
  expect(scaled.autoscaling).toEqual(autoscaling)

  await client.endpoints.delete(id)
  await expect(client.endpoints.retrieve(id)).rejects.toMatchObject({ status: 404 })
  await expect(ask()).rejects.toMatchObject({ status: 404 })
})
