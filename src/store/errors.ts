/**
 * Errors of the store: where weights come from, the network on the way, and the folder they land in.
 * URLs in messages have lost user names, passwords and query strings (`shownUrl`), which may be secrets.
 */

import {
  defineErrors,
  type ErrorDefinition,
  ServingError,
  type ServingErrorOptions,
} from '../base/errors.ts'

export type StoreErrorCode =
  | 'STORE_UNKNOWN_MODEL'
  | 'STORE_BAD_SOURCE'
  | 'STORE_CATALOG_INVALID'
  | 'STORE_FILE_NOT_FOUND'
  | 'STORE_INSECURE_URL'
  | 'STORE_NETWORK'
  | 'STORE_HTTP_STATUS'
  | 'STORE_TOO_MANY_REDIRECTS'
  | 'STORE_BAD_RESPONSE'
  | 'STORE_BAD_CERTIFICATE_FILE'
  | 'STORE_DOWNLOAD_INCOMPLETE'
  | 'STORE_DIGEST_MISMATCH'
  | 'STORE_TOO_LARGE'
  | 'STORE_INDEX_DISABLED'
  | 'STORE_NOT_IN_INDEX'
  | 'STORE_NO_HASH'
  | 'STORE_BAD_ARCHIVE'
  | 'STORE_MEMBER_NOT_FOUND'
  | 'STORE_HUB_NOT_FOUND'
  | 'STORE_HUB_REFUSED'
  | 'STORE_HUB_NO_MODEL'
  | 'STORE_HUB_CHOICE'
  | 'STORE_DISK_FULL'
  | 'STORE_IO'
  | 'STORE_LOCKED'

const table: Readonly<Record<StoreErrorCode, ErrorDefinition>> = {
  STORE_UNKNOWN_MODEL: {
    status: 404,
    retryable: false,
    message:
      'expected a catalog model, a path or a source (pypi:, hf:, https:, file:), got "{name}"{hint}; the catalog has: {catalog}',
  },
  STORE_BAD_SOURCE: {
    status: 400,
    retryable: false,
    message: 'expected a source like {expected}, got "{source}": {reason}',
  },
  STORE_CATALOG_INVALID: {
    status: 500,
    retryable: false,
    message: '{file}: expected a catalog entry, got {reason} at {place}; correct the file',
  },
  STORE_FILE_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: 'expected a readable file at {file}, got {got}; check the path and its permissions',
  },
  STORE_INSECURE_URL: {
    status: 400,
    retryable: false,
    message:
      'expected https, got {url}, which anyone on the way could change; http is for this machine only, use https',
  },
  STORE_NETWORK: {
    status: 502,
    retryable: true,
    message:
      '{url}: no answer after {attempts} attempts, the last one ended with {got}; check the network, proxy and certificate settings and try again',
  },
  STORE_HTTP_STATUS: {
    status: 502,
    retryable: false,
    message: '{url}: expected the file, got HTTP status {got} after {attempts} attempts; {next}',
  },
  STORE_TOO_MANY_REDIRECTS: {
    status: 502,
    retryable: false,
    message:
      '{url}: expected at most {limit} redirects, got more, the last one to {last}; the server is configured wrongly',
  },
  STORE_BAD_RESPONSE: {
    status: 502,
    retryable: false,
    message: '{url}: expected {expected}, got {got}; check that the address is what it should be',
  },
  STORE_BAD_CERTIFICATE_FILE: {
    status: 500,
    retryable: false,
    message:
      '{file}: expected PEM certificates (from {origin}), got {got}; correct or remove that setting',
  },
  STORE_DOWNLOAD_INCOMPLETE: {
    status: 502,
    retryable: true,
    message:
      '{url}: expected {expected} bytes, the connection ended after {got} in {attempts} attempts; fetch again, it goes on where it stopped',
  },
  STORE_DIGEST_MISMATCH: {
    status: 502,
    retryable: false,
    message:
      '{source}: expected {algorithm} {expected}, got {got}; the bytes are not what was pinned and were removed, check where they come from',
  },
  STORE_TOO_LARGE: {
    status: 502,
    retryable: false,
    message: '{source}: expected at most {expected} bytes, got {got}; the file is not trusted',
  },
  STORE_INDEX_DISABLED: {
    status: 400,
    retryable: false,
    message:
      '{source}: expected a package index, but pip is configured with no-index; remove that setting or give a path to the file',
  },
  STORE_NOT_IN_INDEX: {
    status: 404,
    retryable: false,
    message: '{source}: expected {expected} in {index}, got {got}; check the name and the version',
  },
  STORE_NO_HASH: {
    status: 502,
    retryable: false,
    message:
      '{source}: expected a sha256, sha384 or sha512 of {file} in {index}, got none, and nothing else pins the bytes; use a catalog entry with a digest or another index',
  },
  STORE_BAD_ARCHIVE: {
    status: 502,
    retryable: false,
    message: '{source}: expected a readable zip archive, got {got}; fetch it again',
  },
  STORE_MEMBER_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: '{source}: expected the member {member} in {file}, got {got}',
  },
  STORE_HUB_NOT_FOUND: {
    status: 404,
    retryable: false,
    message: '{source}: expected {expected} at {endpoint}, got {got}; check the spelling',
  },
  STORE_HUB_REFUSED: {
    status: 403,
    retryable: false,
    message:
      '{source}: {endpoint} refused with status {got}; accept the model’s terms on its page and set HF_TOKEN, or check the spelling (unknown names are answered the same way)',
  },
  STORE_HUB_NO_MODEL: {
    status: 400,
    retryable: false,
    message:
      '{source}: expected a folder with safetensors or an exported ONNX decoder and their config.json, or one GGUF model, got {got}; name another repository, or a folder inside this one',
  },
  STORE_HUB_CHOICE: {
    status: 400,
    retryable: false,
    message:
      '{source}: expected one model, got {number} ({found}); name one of them, such as {source}/{first}',
  },
  STORE_DISK_FULL: {
    status: 507,
    retryable: false,
    message:
      '{folder}: expected {needed} free bytes, got {free}; free some space or set INGOT_HOME to another disk',
  },
  STORE_IO: {
    status: 500,
    retryable: false,
    message: '{file}: {operation} failed with {got}; check the folder’s permissions and the disk',
  },
  STORE_LOCKED: {
    status: 409,
    retryable: true,
    message:
      '{source}: another process (pid {pid}) has been fetching it for {seconds} s; wait for it, or end it and try again',
  },
}

export const storeError: (code: StoreErrorCode, options?: ServingErrorOptions) => ServingError =
  defineErrors('store', table)

/** A URL as it may be shown: without user name, password, query and fragment. */
export function shownUrl(url: URL | string): string {
  const shown = new URL(url)
  shown.username = ''
  shown.password = ''
  shown.search = ''
  shown.hash = ''
  return shown.href
}

/** The code or the message of whatever was thrown, its cause first (fetch hides the reason there). */
export function reasonOf(error: unknown): string {
  const { cause, code, message } = (error ?? {}) as {
    cause?: unknown
    code?: unknown
    message?: unknown
  }
  if (cause instanceof Error) return reasonOf(cause)
  if (typeof code === 'string') return code
  return typeof message === 'string' ? message : String(error)
}

/** Turn what the file system threw into this room's error; errors that are typed already pass through. */
export function ioFailure(error: unknown, file: string, operation: string): ServingError {
  if (error instanceof ServingError) return error
  const details = { file, operation, got: reasonOf(error) }
  return storeError('STORE_IO', { details, cause: error })
}
