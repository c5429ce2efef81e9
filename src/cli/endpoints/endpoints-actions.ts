/** What each command of `ingot endpoints` does: one or two requests, then text or JSON on standard output. */

import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cliError } from '../errors.ts'
import { abortOnSignal } from '../signals.ts'
import { type AdminClient, adminClient } from './admin-client.ts'
import { autoscaling, type EndpointFlags, endpointBody } from './endpoint-flags.ts'
import {
  aliasesText,
  hardwareText,
  historyText,
  poolText,
  profilesText,
  statusText,
} from './endpoints-text.ts'
import type {
  AliasAnswer,
  ChangeAnswer,
  HardwareAnswer,
  PoolAnswer,
  ProfileAnswer,
  StatusAnswer,
} from './wire-types.ts'

interface Common {
  readonly url?: string
  readonly json?: boolean
}

interface Waiting {
  readonly wait?: boolean
}

const POLL_MS = 250
const CLEAR_SCREEN = '\u001b[H\u001b[2J\u001b[3J'

export async function list(options: Common & { watch?: boolean | string }): Promise<void> {
  const client = adminClient(options.url)
  const read = async (): Promise<string> => {
    const pool = (await client.request('GET', '/v1/status')) as PoolAnswer
    return options.json === true ? JSON.stringify(pool, null, 2) : poolText(pool)
  }
  if (options.watch === undefined) return print(await read())
  await watch(read, watchMs(options.watch))
}

export async function create(
  model: string,
  options: Common & Waiting & EndpointFlags,
): Promise<void> {
  const client = adminClient(options.url)
  const body = { ...endpointBody(options), model: absolute(model) }
  const { id } = (await client.request('POST', '/v1/endpoints', body)) as { id: string }
  await shown(client, options.wait === true ? await settled(client, id) : id, options)
}

export async function get(name: string, options: Common): Promise<void> {
  await shown(adminClient(options.url), name, options)
}

export async function update(name: string, options: Common & EndpointFlags): Promise<void> {
  const body = endpointBody({ ...options, ...modelOf(options) })
  if (Object.keys(body).length === 0) throw nothingGiven('update')
  await patch(name, body, options)
}

export async function scale(
  name: string,
  options: Common & Pick<EndpointFlags, 'min' | 'max'>,
): Promise<void> {
  const wanted = autoscaling(options)
  if (wanted === undefined) throw nothingGiven('scale')
  await patch(name, { autoscaling: wanted }, options)
}

export async function start(name: string, options: Common & Waiting): Promise<void> {
  await patch(name, { state: 'STARTED' }, options)
}

export async function stop(name: string, options: Common & Waiting): Promise<void> {
  await patch(name, { state: 'STOPPED' }, options)
}

export async function remove(name: string, options: Common): Promise<void> {
  await adminClient(options.url).request('DELETE', `/v1/endpoints/${escaped(name)}`)
  print(options.json === true ? JSON.stringify({ deleted: name }) : `deleted ${name}`)
}

export async function load(name: string, options: Common & { variant?: string }): Promise<void> {
  const body = options.variant === undefined ? {} : { variant: options.variant }
  await model(name, 'load', body, options)
}

export async function unload(name: string, options: Common): Promise<void> {
  await model(name, 'unload', {}, options)
}

export async function profiles(name: string, options: Common): Promise<void> {
  await listed<ProfileAnswer>(
    `/v1/models/${escaped(absolute(name))}/profiles`,
    options,
    profilesText,
  )
}

export async function hardware(name: string | undefined, options: Common): Promise<void> {
  const query = name === undefined ? '' : `?model=${escaped(absolute(name))}`
  await listed<HardwareAnswer>(`/v1/hardware${query}`, options, hardwareText)
}

export async function history(name: string | undefined, options: Common): Promise<void> {
  const query = name === undefined ? '' : `?name=${escaped(name)}`
  await listed<ChangeAnswer>(`/v1/history${query}`, options, historyText)
}

export async function aliases(options: Common): Promise<void> {
  await listed<AliasAnswer>('/v1/aliases', options, aliasesText)
}

export async function alias(
  name: string,
  targets: readonly string[],
  options: Common & { fallbacks?: boolean; quantizations?: string; pinned?: boolean },
): Promise<void> {
  const body = {
    targets,
    allow_fallbacks: options.fallbacks !== false,
    quantizations: options.quantizations?.split(',').map((one) => one.trim()) ?? null,
    revision: options.pinned === true ? 'pinned' : 'newest',
  }
  const path = `/v1/aliases/${escaped(name)}`
  const answer = (await adminClient(options.url).request('PUT', path, body)) as AliasAnswer
  print(options.json === true ? JSON.stringify(answer, null, 2) : aliasesText([answer]))
}

export async function unalias(name: string, options: Common): Promise<void> {
  await adminClient(options.url).request('DELETE', `/v1/aliases/${escaped(name)}`)
  print(options.json === true ? JSON.stringify({ deleted: name }) : `removed ${name}`)
}

export async function reload(options: Common): Promise<void> {
  const answer = await adminClient(options.url).request('POST', '/v1/config/reload', {})
  const { data } = answer as { data: readonly ChangeAnswer[] }
  print(options.json === true ? JSON.stringify(answer, null, 2) : historyText(data))
}

async function patch(name: string, body: object, options: Common & Waiting): Promise<void> {
  const client = adminClient(options.url)
  const path = `/v1/endpoints/${escaped(name)}`
  const { id } = (await client.request('PATCH', path, body)) as { id: string }
  await shown(client, options.wait === true ? await settled(client, id) : id, options)
}

async function model(name: string, verb: string, body: object, options: Common): Promise<void> {
  const path = `/v1/models/${escaped(name)}/${verb}`
  const status = (await adminClient(options.url).request('POST', path, body)) as StatusAnswer
  print(options.json === true ? JSON.stringify(status, null, 2) : statusText(status))
}

async function listed<T>(
  path: string,
  options: Common,
  text: (data: readonly T[]) => string,
): Promise<void> {
  const answer = await adminClient(options.url).request('GET', path)
  const { data } = answer as { data: readonly T[] }
  print(options.json === true ? JSON.stringify(answer, null, 2) : text(data))
}

/** Everything known of one endpoint. */
async function shown(client: AdminClient, idOrName: string, { json }: Common): Promise<void> {
  const status = await statusOf(client, idOrName)
  print(json === true ? JSON.stringify(status, null, 2) : statusText(status))
}

async function statusOf(client: AdminClient, idOrName: string): Promise<StatusAnswer> {
  // An unknown one is refused here, in the server's words.
  const { id } = (await client.request('GET', `/v1/endpoints/${escaped(idOrName)}`)) as {
    id: string
  }
  const { endpoints } = (await client.request('GET', '/v1/status')) as PoolAnswer
  const status = endpoints.find((one) => one.id === id)
  if (status !== undefined) return status
  const details = { url: client.url, status: 404, message: `${idOrName} is gone` }
  throw cliError('CLI_SERVER_REFUSED', { details })
}

/** Wait until it neither starts nor stops. @returns its id. @throws ServingError CLI_ENDPOINT_FAILED */
async function settled(client: AdminClient, id: string): Promise<string> {
  for (;;) {
    const { state, reason, spec } = await statusOf(client, id)
    if (state === 'STARTED' || state === 'STOPPED') return id
    if (state === 'ERROR') {
      const details = { name: spec.name, reason: reason ?? 'no reason is known' }
      throw cliError('CLI_ENDPOINT_FAILED', { details })
    }
    await sleep(POLL_MS)
  }
}

/** Until a signal. A server that is away for a while is told, and looked for again. */
async function watch(read: () => Promise<string>, everyMs: number): Promise<void> {
  const { signal, stopListening } = abortOnSignal()
  // A wrong address is an error, not a thing to be waited for.
  let text = await read()
  try {
    for (;;) {
      print(process.stdout.isTTY ? `${CLEAR_SCREEN}${text}` : text)
      await sleep(everyMs, undefined, { signal })
      text = await read().catch((error: Error) => error.message)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    stopListening()
  }
}

function watchMs(written: boolean | string): number {
  if (written === true) return 1000
  const seconds = Number(written)
  if (seconds >= 0.1 && seconds <= 3600) return seconds * 1000
  const expected = '--watch to be a number of seconds from 0.1 to 3600'
  const details = { expected, got: JSON.stringify(written), next: 'leave the number out for 1' }
  throw cliError('CLI_BAD_ARGUMENT', { param: '--watch', details })
}

function nothingGiven(command: string): Error {
  const details = {
    expected: 'at least one flag that changes something',
    got: 'none',
    next: `see ingot endpoints ${command} --help`,
  }
  return cliError('CLI_BAD_ARGUMENT', { details })
}

/** The server has a working folder of its own. */
function absolute(model: string): string {
  return /^\.{1,2}[/\\]/.test(model) ? resolve(model) : model
}

function modelOf({ model }: EndpointFlags): EndpointFlags {
  return model === undefined ? {} : { model: absolute(model) }
}

function escaped(name: string): string {
  return encodeURIComponent(name)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
