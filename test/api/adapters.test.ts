/** vLLM's routes for adapters, and how adapters are listed. */

import { afterEach, describe, expect, it } from 'vitest'
import { adapterCard } from '../../src/deployment/adapters/adapter-card.ts'
import { adapterError } from '../../src/deployment/adapters/errors.ts'
import { FAKE_CARD } from '../support/fake-deployments.ts'
import { fakeAdministration } from '../support/fake-endpoints-admin.ts'
import { type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
afterEach(() => server.app.close())

const LOAD = '/v1/load_lora_adapter'
const UNLOAD = '/v1/unload_lora_adapter'

function opened() {
  const administration = fakeAdministration()
  server = testServer({ parts: { administration } })
  const post = async (url: string, payload: object) => {
    const response = await server.app.inject({ method: 'POST', url, payload })
    return { status: response.statusCode, body: response.json() }
  }
  return { adapters: administration.adapters, post }
}

describe('loading and unloading', () => {
  it('answers with the adapter as it is listed, and with what was deleted', async () => {
    const { adapters, post } = opened()
    expect(await post(LOAD, { lora_name: 'sql', lora_path: 'sql-v1' })).toMatchObject({
      status: 200,
      body: {
        id: 'fake-model:sql',
        object: 'model',
        parent: 'fake-model',
        root: 'sql',
        adapter_digest: 'sha256:12',
      },
    })
    expect(await post(UNLOAD, { lora_name: 'sql' })).toEqual({
      status: 200,
      body: { id: 'fake-model:sql', object: 'model', deleted: true },
    })
    expect(adapters.calls).toEqual(['load sql from sql-v1', 'unload sql'])
  })

  it.each([
    [LOAD, {}, 'lora_name'],
    [LOAD, { lora_name: 'a' }, 'lora_path'],
    [LOAD, { lora_name: 'a', lora_path: 3 }, 'lora_path'],
    [LOAD, { lora_name: '', lora_path: 'a' }, 'lora_name'],
    [LOAD, { lora_name: 'a', lora_path: 'b', load_inplace: true }, 'load_inplace'],
    [UNLOAD, { lora_name: 'a', lora_int_id: 1 }, 'lora_int_id'],
  ])('%s refuses %j by the name of %s', async (url, payload, param) => {
    const { adapters, post } = opened()
    expect(await post(url, payload)).toMatchObject({ status: 400, body: { error: { param } } })
    expect(adapters.calls).toEqual([])
  })

  it('names the setting where it is off', async () => {
    const { adapters, post } = opened()
    adapters.refusal = adapterError('ADAPTER_LOADING_OFF')
    const { status, body } = await post(LOAD, { lora_name: 'a', lora_path: 'b' })
    expect([status, body.error.type]).toEqual([403, 'permission_error'])
    expect(body.error.message).toContain('--runtime-lora-folder')
  })

  it('is for administrators', async () => {
    server = testServer({
      config: { adminToken: 'secret' },
      parts: { administration: fakeAdministration() },
    })
    for (const url of [LOAD, UNLOAD]) {
      const response = await server.app.inject({ method: 'POST', url, payload: {} })
      expect(response.statusCode).toBe(401)
    }
  })
})

it('lists adapters with their parent, and bases as their own root', async () => {
  opened()
  const adapter = { name: 'sql', digest: 'sha256:12', slot: 1, folder: '/x', created: 5 }
  server.deployments.list = () => [FAKE_CARD, adapterCard(FAKE_CARD, adapter)]
  const response = await server.app.inject({ url: '/v1/models' })
  expect(
    response.json().data.map(({ id, root, parent }: Record<string, unknown>) => [id, root, parent]),
  ).toEqual([
    ['fake-model', 'fake-model', null],
    ['fake-model:sql', 'sql', 'fake-model'],
  ])
})

it('an unknown adapter is a 404 that OpenAI’s clients know', async () => {
  opened()
  server.deployments.find = () => {
    const details = { base: 'fake-model', name: 'sql', loaded: 'none' }
    throw adapterError('ADAPTER_UNKNOWN', { param: 'model', details })
  }
  const payload = { model: 'fake-model:sql', messages: [{ role: 'user', content: 'hi' }] }
  const url = '/v1/chat/completions'
  const response = await server.app.inject({ method: 'POST', url, payload })
  expect(response.statusCode).toBe(404)
  expect(response.json().error).toMatchObject({ code: 'model_not_found', param: 'model' })
})
