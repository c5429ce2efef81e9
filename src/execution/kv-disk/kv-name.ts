/**
 * What a block kept on disk is called, and where its file lies:
 *
 *   <folder>/<configuration>/<tenant>/<block>.kv      32, 32 and 64 hex digits of SHA-256
 *
 *   configuration   all that decides the bits of KV: weights, types, block size, kernels, version
 *   tenant          the principal, so that all of its files lie in folders of its own
 *   block           the configuration, the tenant, the cache domain and all token ids up to the block's end
 *
 * N1 Equal names mean equal bytes; nobody reaches a name without the tenant and the domain that it was made from.
 * Pure; knows no files.
 */

import { createHash } from 'node:crypto'
import type { KvKey } from '../../engine/kv-tier.ts'

const HEX_DIGITS = 32
const PURPOSE = 'ingot kv 1'

export interface KvName {
  /** Hex; the folder of the tenant. */
  readonly tenant: string
  /** Of the tenant's files when the name was made: blocks of a former one are never written. */
  readonly generation: string
  /** 32 bytes. */
  readonly digest: Buffer
  /** Relative to the cache's folder. */
  readonly path: string
}

/** Names are the engine's keys, which looks into none. */
export function nameOf(key: KvKey): KvName {
  return key as unknown as KvName
}

export function keyOf(name: KvName): KvKey {
  return name as unknown as KvKey
}

/** @param facts - all that decides the bits of KV; a change of one makes another folder */
export function configurationFolder(facts: Readonly<Record<string, unknown>>): string {
  const sorted = Object.keys(facts)
    .sort()
    .map((key) => [key, facts[key]])
  return hexOf(`${PURPOSE} configuration ${JSON.stringify(sorted)}`)
}

export function tenantFolder(tenant: string): string {
  return hexOf(`${PURPOSE} tenant ${tenant}`)
}

function hexOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, HEX_DIGITS)
}

/** What the first blocks of a tenant and domain follow; no file has this name. */
export function rootName(
  configuration: string,
  tenant: string,
  generation: string,
  cacheDomain: Int32Array,
): KvName {
  const hash = createHash('sha256').update(`${PURPOSE} root ${configuration} ${tenant} `)
  return named(configuration, tenant, generation, hash.update(bytesOf(cacheDomain)).digest())
}

export function childName(parent: KvName, tokenIds: Int32Array): KvName {
  const { tenant, generation, path } = parent
  const digest = createHash('sha256').update(parent.digest).update(bytesOf(tokenIds)).digest()
  return named(path.slice(0, HEX_DIGITS), tenant, generation, digest)
}

function named(configuration: string, tenant: string, generation: string, digest: Buffer): KvName {
  const path = `${configuration}/${tenant}/${digest.toString('hex')}.kv`
  return { tenant, generation, digest, path }
}

function bytesOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}
