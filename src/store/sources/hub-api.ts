/**
 * Asking a hub that speaks Hugging Face's API, through this room's connections and with its errors.
 *
 * `@huggingface/hub` neither retries nor types its errors by what a person can do. Owns nothing.
 */

import { HubApiError, modelInfo } from '@huggingface/hub'
import { ServingError } from '../../base/errors.ts'
import { reasonOf, storeError } from '../errors.ts'
import type { HubSource } from '../source.ts'
import type { FetchContext } from './source-fetcher.ts'

export interface HubOptions {
  /** Without a slash at its end; default `https://huggingface.co`. */
  readonly endpoint?: string | undefined
  readonly token?: string | undefined
}

const DEFAULT_ENDPOINT = 'https://huggingface.co'
const COMMIT = /^[0-9a-f]{40}$/

export function endpointOf({ endpoint = DEFAULT_ENDPOINT }: HubOptions): string {
  return endpoint.replace(/\/+$/, '')
}

interface HubAccess {
  readonly hubUrl: string
  readonly fetch: typeof fetch
  readonly accessToken?: string
}

/** What the library's calls are given. */
export function access(options: HubOptions, { http, signal }: FetchContext): HubAccess {
  const through: typeof fetch = (input, init) => http.fetch(input, { ...init, signal })
  const { token } = options
  return {
    hubUrl: endpointOf(options),
    fetch: through,
    ...(token === undefined ? {} : { accessToken: token }),
  }
}

/** Branches and tags move, so everything after names the commit. Within `asking`. */
export async function commitOf(
  { repository, revision }: HubSource,
  options: HubOptions,
  context: FetchContext,
): Promise<string> {
  if (COMMIT.test(revision)) return revision
  const asked = { name: repository, revision, ...access(options, context) }
  const { sha } = await modelInfo({ ...asked, additionalFields: ['sha'] })
  if (COMMIT.test(sha)) return sha
  const expected = `a commit for ${repository} at ${revision}`
  const details = {
    source: context.sourceText,
    endpoint: endpointOf(options),
    expected,
    got: 'none',
  }
  throw storeError('STORE_HUB_NOT_FOUND', { details })
}

/**
 * Ask, again where that may help.
 *
 * @param expected - what a 404 says is missing
 * @throws ServingError STORE_HUB_NOT_FOUND, STORE_HUB_REFUSED, STORE_NETWORK; what `ask` throws of ours; the signal's reason
 */
export async function asking<T>(
  { http, signal, sourceText }: FetchContext,
  endpoint: string,
  expected: string,
  ask: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ask()
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof ServingError) throw error
      const status = error instanceof HubApiError ? error.statusCode : undefined
      const details = { source: sourceText, endpoint, expected }
      if (status === 404) {
        const got = 'status 404'
        throw storeError('STORE_HUB_NOT_FOUND', { details: { ...details, got }, cause: error })
      }
      if (status === 401 || status === 403) {
        throw storeError('STORE_HUB_REFUSED', {
          details: { ...details, got: status },
          cause: error,
        })
      }
      if (attempt >= http.maxAttempts) {
        const got = status === undefined ? reasonOf(error) : `status ${status}`
        throw storeError('STORE_NETWORK', {
          details: { url: endpoint, attempts: attempt, got },
          cause: error,
        })
      }
      await http.pause(attempt, signal)
    }
  }
}
