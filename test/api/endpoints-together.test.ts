/** Together's official client against the server with endpoints in memory: shapes, refusals, and the whole life. */

import Together from 'together-ai'
import type {
  DedicatedEndpoint,
  EndpointListHardwareResponse,
  EndpointListResponse,
} from 'together-ai/resources/endpoints'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeEndpointsAdmin, fakeAdministration } from '../support/fake-endpoints-admin.ts'
import { listen, type TestServer, testServer } from '../support/test-server.ts'

let server: TestServer
let endpoints: FakeEndpointsAdmin
let client: Together

beforeEach(async () => {
  const administration = fakeAdministration()
  endpoints = administration.endpoints
  server = testServer({ parts: { administration } })
  const baseURL = `${await listen(server.app)}/v1`
  client = new Together({ baseURL, apiKey: 'any', maxRetries: 0 })
})
afterEach(() => server.app.shutdown(0))

const wanted = {
  model: 'smollm2-135m-instruct',
  hardware: 'cpu_2x_avx512',
  autoscaling: { min_replicas: 0, max_replicas: 2 },
} as const

describe('the together-ai client', () => {
  it('creates, lists, gets, stops, starts, scales and deletes an endpoint', async () => {
    const created = await client.endpoints.create({
      ...wanted,
      display_name: 'Small talk',
      inactive_timeout: 30,
      disable_speculative_decoding: true,
      disable_prompt_cache: true,
      availability_zone: 'local',
    })
    expect(created).toEqual({
      object: 'endpoint',
      id: expect.stringMatching(/^endpoint-[0-9a-f-]{36}$/),
      name: expect.stringMatching(/^smollm2-135m-instruct-[0-9a-f]{8}$/),
      display_name: 'Small talk',
      model: 'smollm2-135m-instruct',
      hardware: 'cpu_2x_avx512',
      type: 'dedicated',
      owner: 'ingot',
      state: 'STARTED',
      autoscaling: { min_replicas: 0, max_replicas: 2 },
      created_at: '2026-09-21T14:13:20.000Z',
    } satisfies DedicatedEndpoint)
    const { id } = created
    expect(endpoints.get(id).spec).toMatchObject({
      threads: 2,
      maxDraftTokens: 0,
      prefixCache: false,
      inactiveTimeoutMs: 1_800_000,
      autoscaling: { minReplicas: 0, maxReplicas: 2 },
    })
    expect(await client.endpoints.list()).toEqual({
      object: 'list',
      data: [
        {
          object: 'endpoint',
          id,
          name: created.name,
          model: created.model,
          type: 'dedicated',
          owner: 'ingot',
          state: 'STARTED',
          created_at: created.created_at,
        },
      ],
    } satisfies EndpointListResponse)
    expect(await client.endpoints.retrieve(id)).toEqual(created)
    expect(await client.endpoints.update(id, { state: 'STOPPED' })).toEqual({
      ...created,
      state: 'STOPPED',
    })
    expect(await client.endpoints.update(id, { state: 'STARTED' })).toEqual(created)
    const autoscaling = { min_replicas: 1, max_replicas: 3 }
    const scaled = await client.endpoints.update(id, { autoscaling, inactive_timeout: 0 })
    expect(scaled).toEqual({ ...created, autoscaling })
    expect(endpoints.get(id).spec.inactiveTimeoutMs).toBeNull()
    await client.endpoints.delete(id)
    expect((await client.endpoints.list()).data).toEqual([])
    await expect(client.endpoints.retrieve(id)).rejects.toMatchObject({ status: 404 })
  })

  it('lists by type, by whose they are, and by how they are paid', async () => {
    await client.endpoints.create(wanted)
    const body = { model: 'm', name: 'shared', type: 'serverless' }
    const response = await server.app.inject({
      method: 'POST',
      url: '/v1/endpoints',
      payload: body,
    })
    expect(response.json()).toMatchObject({
      type: 'serverless',
      display_name: 'shared',
      hardware: 'cpu_6x_avx512',
      autoscaling: { min_replicas: 0, max_replicas: 1 },
    })
    const types = async (query: Parameters<typeof client.endpoints.list>[0]) =>
      (await client.endpoints.list(query)).data.map(({ type }) => type)
    expect(await types({})).toEqual(['dedicated', 'serverless'])
    expect(await types({ type: 'serverless' })).toEqual(['serverless'])
    expect(await types({ type: 'dedicated', mine: true })).toEqual(['dedicated'])
    expect(await types({ usage_type: 'on-demand' })).toEqual(['dedicated', 'serverless'])
    expect(await types({ usage_type: 'reserved' })).toEqual([])
  })

  it('reads the hardware of the machine, and for a model whether its memory is to be had', async () => {
    type Hardware = EndpointListHardwareResponse.Data
    const hardware = (gpu_count: number, availability: Partial<Hardware>): Hardware => ({
      object: 'hardware',
      id: `cpu_${gpu_count}x_avx512`,
      pricing: { cents_per_minute: 0 },
      specs: { gpu_type: 'cpu-avx512', gpu_link: 'shared-memory', gpu_memory: 24, gpu_count },
      updated_at: '2026-09-21T14:13:20.000Z',
      ...availability,
    })
    expect(await client.endpoints.listHardware()).toEqual({
      object: 'list',
      data: [1, 2, 4, 6].map((count) => hardware(count, {})),
    })
    const [fits] = endpoints.profilesByModel.get('known') ?? []
    if (fits === undefined) throw new Error('the fake has lost its profile')
    endpoints.profilesByModel.set('later', [{ ...fits, fitsNow: false, totalBytes: 1000 }])
    endpoints.profilesByModel.set('never', [{ ...fits, fitsNow: false, totalBytes: 1001 }])
    for (const [model, status] of [
      ['known', 'available'],
      ['later', 'insufficient'],
      ['never', 'unavailable'],
    ] as const) {
      const { data } = await client.endpoints.listHardware({ model })
      expect(data[1]).toEqual(hardware(2, { availability: { status } }))
    }
    await expect(client.endpoints.listHardware({ model: 'nobody' })).rejects.toMatchObject({
      status: 404,
    })
    expect(await client.endpoints.listAvzones()).toEqual({ avzones: ['local'] })
  })
})

describe('POST /v1/endpoints', () => {
  it.each([
    ['a field of nobody', { colour: 'red' }, 'colour'],
    ['other hardware', { hardware: '8x_nvidia_h100_80gb_sxm' }, 'hardware'],
    ['another zone', { availability_zone: 'us-central-4b' }, 'availability_zone'],
    [
      'more replicas than there may be',
      { autoscaling: { min_replicas: 0, max_replicas: 65 } },
      'autoscaling.max_replicas',
    ],
    [
      'a floor above the ceiling',
      { autoscaling: { min_replicas: 2, max_replicas: 1 } },
      'autoscaling',
    ],
    ['half an autoscaling', { autoscaling: { min_replicas: 2 } }, 'autoscaling.max_replicas'],
    ['a timeout in fractions', { inactive_timeout: 0.5 }, 'inactive_timeout'],
    ['a state that is none to be wished', { state: 'PENDING' }, 'state'],
    ['a name with a space', { name: 'a b' }, 'name'],
    ['no format of weights', { weights: [] }, 'weights'],
    ['a format twice', { weights: ['int8', 'int8'] }, 'weights'],
    ['a format of nobody', { weights: ['int3'] }, 'weights[0]'],
    ['a digest that is none', { digest: 'sha256:12' }, 'digest'],
    ['a pin on a dedicated endpoint', { pinned: true }, 'pinned'],
    [
      'replicas of a serverless endpoint',
      { type: 'serverless', autoscaling: { min_replicas: 1, max_replicas: 1 } },
      'autoscaling',
    ],
    ['no model', { model: undefined }, 'model'],
  ])('refuses %s by name, and creates nothing', async (_, change, param) => {
    const payload = { model: 'm', ...change }
    const response = await server.app.inject({ method: 'POST', url: '/v1/endpoints', payload })
    expect([response.statusCode, response.json().error.param]).toEqual([400, param])
    expect(endpoints.changes).toEqual([])
  })

  it('takes variants, sizes and limits of ours beside', async () => {
    const digest = `sha256:${'0a'.repeat(32)}`
    const payload = {
      model: './models/tiny.gguf',
      name: 'org/tiny:2',
      type: 'serverless',
      weights: ['int8', 'int4'],
      digest,
      kv_memory_bytes: 2 ** 26,
      max_context_tokens: 512,
      max_sequences: 4,
      max_queue: 8,
      cold_start_wait_ms: 0,
      pinned: true,
    }
    await server.app.inject({ method: 'POST', url: '/v1/endpoints', payload })
    const variant = {
      source: './models/tiny.gguf',
      digest,
      activations: 'bf16',
      kvDtype: null,
      qualityKl: null,
    }
    const weights = { head: null, embedding: null, group: null, symmetry: null, overrides: [] }
    expect(endpoints.get('org/tiny:2').spec).toEqual({
      name: 'org/tiny:2',
      displayName: null,
      mode: 'serverless',
      variants: [
        { name: 'int8', ...variant, weights: { ...weights, format: 'int8' } },
        { name: 'int4', ...variant, weights: { ...weights, format: 'int4' } },
      ],
      state: 'STARTED',
      kvMemoryBytes: 2 ** 26,
      maxContextTokens: 512,
      maxNumSeqs: 4,
      maxQueuedSequences: 8,
      threads: null,
      maxDraftTokens: null,
      prefixCache: null,
      cpuSets: [],
      inactiveTimeoutMs: 600_000,
      isPinned: true,
      coldStartWaitMs: 0,
      autoscaling: {
        minReplicas: 0,
        maxReplicas: 1,
        targetLoad: 0.8,
        scaleUpWindowMs: 30_000,
        scaleDownWindowMs: 600_000,
      },
      region: null,
      retention: 'standard',
    })
  })
})

describe('PATCH /v1/endpoints/{id}', () => {
  it('changes what is given and nothing else, weights included, under a name with slashes', async () => {
    const payload = { model: 'm', name: 'org/m', weights: ['int8'], inactive_timeout: 5 }
    await server.app.inject({ method: 'POST', url: '/v1/endpoints', payload })
    const before = endpoints.get('org/m').spec
    const patch = async (body: object) =>
      (await server.app.inject({ method: 'PATCH', url: '/v1/endpoints/org/m', payload: body }))
        .statusCode
    expect(await patch({ weights: ['int8', 'int4'], cold_start_wait_ms: 7 })).toBe(200)
    const int8 = before.variants[0]
    const int4 = { ...int8, name: 'int4', weights: { ...int8?.weights, format: 'int4' } }
    expect(endpoints.get('org/m').spec).toEqual({
      ...before,
      variants: [int8, int4],
      coldStartWaitMs: 7,
    })
    expect(await patch({ model: 'n', inactive_timeout: null })).toBe(200)
    expect(endpoints.get('org/m').spec).toEqual({
      ...before,
      variants: [int8, int4].map((variant) => ({ ...variant, source: 'n' })),
      coldStartWaitMs: 7,
      inactiveTimeoutMs: null,
    })
    const pinned = `sha256:${'0b'.repeat(32)}`
    expect(await patch({ weights: ['int4'], digest: pinned })).toBe(200)
    expect(endpoints.get('org/m').spec.variants).toEqual([{ ...int4, source: 'n', digest: pinned }])
    expect(await patch({})).toBe(400)
    expect(await patch({ hardware: 'cpu_1x_avx512' })).toBe(400)
    expect(endpoints.changes).toHaveLength(4)
  })

  it('leaves variants of different sources apart', async () => {
    const payload = { model: 'm', name: 'm', weights: ['int8', 'int4'] }
    await server.app.inject({ method: 'POST', url: '/v1/endpoints', payload })
    const { id, spec } = endpoints.get('m')
    const [int8, int4] = spec.variants.map((variant, at) => ({
      ...variant,
      source: `source-${at}`,
      digest: `sha256:${`0${at}`.repeat(32)}`,
      qualityKl: 0.01,
    }))
    if (int8 === undefined || int4 === undefined) throw new Error('variants are missing')
    const declared = { ...spec, variants: [int8, int4] }
    endpoints.endpoints.set(id, { ...endpoints.get(id), spec: declared })
    const patch = (body: object) =>
      server.app.inject({ method: 'PATCH', url: '/v1/endpoints/m', payload: body })
    await patch({ weights: ['int4', 'int8'] })
    expect(endpoints.get('m').spec.variants).toEqual([int4, int8])
    await patch({ model: 'source-1' })
    expect(endpoints.get('m').spec.variants).toEqual([
      int4,
      { ...int8, source: 'source-1', digest: null, qualityKl: null },
    ])
  })
})
