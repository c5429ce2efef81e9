/** `ingot endpoints` against a listening server with endpoints in memory: what it sends, prints and says on failure. */

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EXIT } from '../../src/cli/errors.ts'
import { buildProgram, runProgram } from '../../src/cli/program.ts'
import {
  FAKE_PROFILE,
  type FakeEndpointsAdmin,
  fakeAdministration,
} from '../support/fake-endpoints-admin.ts'
import { listen, type TestServer, testServer } from '../support/test-server.ts'

const TOKEN = 'a-token-of-some-length'

let server: TestServer
let endpoints: FakeEndpointsAdmin
let url: string

async function start(adminToken: string | null = null): Promise<void> {
  const administration = fakeAdministration()
  endpoints = administration.endpoints
  server = testServer({ parts: { administration }, config: { adminToken } })
  url = await listen(server.app)
}

beforeEach(() => start())
afterEach(async () => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  await server.app.shutdown(0)
})

async function run(...args: string[]) {
  let out = ''
  let err = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text)
    return true
  })
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    err += String(text)
    return true
  })
  const code = await runProgram(['endpoints', ...args, '--url', url])
  return { code, out, err }
}

describe('ingot endpoints', () => {
  it('creates, shows, changes, scales, stops, starts and deletes', async () => {
    const created = await run(
      ...['create', 'smollm2-135m-instruct', '--name', 'org/chat', '--weights', 'int8, int4'],
      ...['--hardware', 'cpu_2x_avx512', '--min', '0', '--inactive-timeout', '10'],
      ...['--kv-memory', '64MiB', '--cold-start-wait', '1.5', '--no-speculation', '--wait'],
    )
    expect(created).toMatchObject({ code: EXIT.done, err: '' })
    expect(created.out).toMatch(/^org\/chat\n {2}id +endpoint-\S+ +created 2026-/)
    expect(created.out).toMatch(/^ {2}variants +int8, int4$/m)
    expect(created.out).toMatch(/^ {2}autoscaling +0 to 1 replicas$/m)
    expect(created.out).toMatch(/^ {2}idle +given up after 10 min$/m)
    expect(endpoints.get('org/chat').spec).toMatchObject({
      threads: 2,
      kvMemoryBytes: 2 ** 26,
      coldStartWaitMs: 1500,
      maxDraftTokens: 0,
      autoscaling: { minReplicas: 0, maxReplicas: 1 },
    })
    await run('update', 'org/chat', '--max-queue', '5', '--display-name', 'Chat')
    await run('scale', 'org/chat', '--max', '3')
    await run('stop', 'org/chat', '--wait')
    expect(endpoints.get('org/chat').spec).toMatchObject({
      maxQueuedSequences: 5,
      displayName: 'Chat',
      state: 'STOPPED',
      autoscaling: { minReplicas: 1, maxReplicas: 3 },
    })
    const started = await run('start', 'org/chat', '--json')
    expect(JSON.parse(started.out)).toMatchObject({ object: 'endpoint.status', state: 'STARTED' })
    expect((await run('delete', 'org/chat')).out).toBe('deleted org/chat\n')
    const history = await run('history', 'org/chat')
    expect(history.out.trim().split('\n')).toHaveLength(7)
    expect(history.out).toMatch(/autoscaling=\{"min_replicas":1,"max_replicas":3/)
  })

  it('lists endpoints with the memory of all, as a table and as JSON', async () => {
    const empty = await run('list')
    expect(empty.out).toBe(
      [
        'Memory: 0 B reserved of 1000 B (configured), 0 B resident',
        '',
        'NAME  TYPE  STATE  VARIANT  REPLICAS  MEMORY  LOAD  IDLE  OPEN',
        'no endpoints; ingot endpoints create --help',
        '',
      ].join('\n'),
    )
    await run('create', 'm', '--name', 'one', '--type', 'serverless')
    const { id } = endpoints.get('one')
    endpoints.endpoints.set(id, {
      ...endpoints.get('one'),
      state: 'STARTING',
      reason: 'it is loading',
      variant: { name: 'int8', reason: 'the first that fits' },
      reservedBytes: 3 * 2 ** 20,
      loadMs: 412,
      idleMs: 130_000,
      numOpenRequests: 2,
    })
    const [, , heads, row] = (await run('list')).out.split('\n')
    expect(heads).toBe(
      'NAME  TYPE        STATE     VARIANT  REPLICAS  MEMORY    LOAD   IDLE   OPEN',
    )
    expect(row).toBe(
      'one   serverless  STARTING  int8     0         3.00 MiB  0.4 s  2 min  2     it is loading',
    )
    const json = await run('list', '--json')
    expect(JSON.parse(json.out)).toMatchObject({ object: 'status', endpoints: [{ id }] })
  })

  it('loads a variant, unloads, reloads, and shows profiles and hardware', async () => {
    await run('create', 'm', '--name', 'one')
    endpoints.profilesByModel.set('one', [FAKE_PROFILE])
    expect((await run('load', 'one', '--variant', 'int8')).code).toBe(EXIT.done)
    expect((await run('unload', 'one')).code).toBe(EXIT.done)
    expect((await run('reload')).out).toBe('no changes\n')
    expect(endpoints.calls).toEqual(['load one int8', 'unload one', 'reload by local'])
    const { out } = await run('profiles', 'one')
    expect(out.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['VARIANT', 'FORMAT', 'WEIGHTS', 'KV', 'TOTAL', 'FITS NOW', 'CONTEXT', 'KL', 'TOKENS/S'],
      [
        'int8',
        'int8 (groups of 32)',
        '100 B',
        '200 B',
        '300 B',
        'yes',
        '100',
        'not measured',
        '12.5',
      ],
      [''],
    ])
    expect((await run('hardware', 'known')).out).toMatch(
      /^cpu_1x_avx512 +1 +24 GB, shared +available$/m,
    )
  })

  it('means relative paths as the person at the terminal does, not the server', async () => {
    await run('create', './models/a.gguf', '--name', 'one')
    expect(endpoints.get('one').spec.variants[0]?.source).toBe(resolve('models/a.gguf'))
    await run('update', 'one', '--model', '../b.gguf')
    expect(endpoints.get('one').spec.variants[0]?.source).toBe(resolve('../b.gguf'))
    endpoints.profilesByModel.set(resolve('c.gguf'), [FAKE_PROFILE])
    expect((await run('profiles', './c.gguf')).code).toBe(EXIT.done)
    await run('update', 'one', '--model', 'org/name')
    expect(endpoints.get('one').spec.variants[0]?.source).toBe('org/name')
  })

  it('sets, lists and removes aliases', async () => {
    await run('alias', 'gpt', 'one', 'two', '--no-fallbacks', '--quantizations', 'int8', '--pinned')
    expect((await run('aliases')).out).toBe(
      'NAME  ENDPOINTS  FALLBACKS  FORMATS  REVISION\ngpt   one, two   no         int8     pinned\n',
    )
    expect((await run('unalias', 'gpt')).out).toBe('removed gpt\n')
    expect((await run('aliases')).out).toBe('no aliases; ingot endpoints alias --help\n')
  })

  it('watches until a signal, and tells when the server is away', async () => {
    const texts: string[] = []
    const stop = () => process.emit('SIGINT', 'SIGINT')
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      texts.push(String(text))
      if (texts.length === 2) void server.app.shutdown(0)
      if (String(text).includes('nobody listens')) stop()
      return true
    })
    const args = ['endpoints', 'list', '--watch', '0.1', '--url', url]
    expect(await runProgram(args)).toBe(EXIT.done)
    expect(texts[0]).toContain('NAME  TYPE')
    expect(texts.at(-1)).toMatch(/^expected a server at .*start one with ingot serve/)
  })

  it('sends the admin token of its settings', async () => {
    await server.app.shutdown(0)
    await start(TOKEN)
    const without = await run('list')
    expect(without.code).toBe(EXIT.failed)
    expect(without.err).toContain('Expected the server’s admin token')
    vi.stubEnv('INGOT_ADMIN_TOKEN', TOKEN)
    expect((await run('list')).code).toBe(EXIT.done)
  })
})

describe('a failure', () => {
  it.each([
    ['of the server', ['get', 'nobody'], 'there is no endpoint "nobody" (status 404 of http'],
    ['of a body', ['create', 'm', '--weights', 'int3'], "for 'weights[0]': expected"],
    ['of a number', ['scale', 'm', '--max', 'x'], 'expected --max to be a whole number, got "x"'],
    ['of a size', ['update', 'm', '--kv-memory', '1 apple'], 'expected --kv-memory to be a size'],
    ['of a time', ['update', 'm', '--cold-start-wait', '-1'], 'expected --cold-start-wait to be a'],
    ['of no change', ['update', 'm'], 'see ingot endpoints update --help'],
    ['of no number', ['scale', 'm'], 'see ingot endpoints scale --help'],
    ['of a pace', ['list', '--watch', 'often'], 'expected --watch to be a number of seconds'],
  ])('%s is one line that helps', async (_, args, message) => {
    const { code, out, err } = await run(...args)
    expect([code, out]).toEqual([EXIT.failed, ''])
    expect(err.toLowerCase()).toContain(message.toLowerCase())
    expect(err.trim().split('\n')).toHaveLength(1)
  })

  it('to start is told with its reason by --wait', async () => {
    await run('create', 'm', '--name', 'one')
    const status = endpoints.get('one')
    endpoints.update = async () => status
    endpoints.endpoints.set(status.id, { ...status, state: 'ERROR', reason: 'it crashed thrice' })
    const { code, err } = await run('start', 'one', '--wait')
    expect(code).toBe(EXIT.failed)
    expect(err).toBe(
      'ingot: endpoint "one" did not start: it crashed thrice [CLI_ENDPOINT_FAILED]\n',
    )
  })

  it('names another program, and an address that is none', async () => {
    const other = createServer((_, response) => response.end('<html>')).listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    url = `http://127.0.0.1:${port}/v1/`
    expect((await run('list')).err).toContain('[CLI_NOT_INGOT]')
    await new Promise((resolve) => other.close(resolve))
    expect((await run('list')).err).toContain(
      `at http://127.0.0.1:${port}, got nobody listens there`,
    )
    url = 'ftp://x'
    expect((await run('list')).err).toContain('[CLI_BAD_ARGUMENT]')
    await start()
  })
})

it('every command has help with an example', async () => {
  const group = buildProgram().commands.find((command) => command.name() === 'endpoints')
  const names = group?.commands.map((command) => command.name()) ?? []
  expect(names).toEqual([
    ...['list', 'create', 'get', 'update', 'scale', 'start', 'stop', 'delete', 'load', 'unload'],
    ...['profiles', 'hardware', 'history', 'aliases', 'alias', 'unalias', 'reload'],
  ])
  for (const name of names) {
    let out = ''
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text)
      return true
    })
    expect(await runProgram(['endpoints', name, '--help'])).toBe(EXIT.done)
    expect(out).toContain(`$ ingot endpoints ${name}`)
    for (const flag of ['--url', '--json']) expect(out).toContain(flag)
  }
})
