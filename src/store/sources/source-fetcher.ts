/**
 * What a fetcher of one kind of source is given and what it gives back. Owns nothing.
 * A fetcher brings bytes into a temporary file of the store; publishing, refs, locks and single flight are the store's.
 */

import type { HttpClient } from '../http/http-client.ts'

/** In this order, each at most once, but `wait` and `resolve`, which may not come at all. */
export type FetchStage = 'wait' | 'resolve' | 'download' | 'extract' | 'digest'

/** `totalBytes` is `null` while nobody has said it. */
export type ProgressListener = (
  stage: FetchStage,
  doneBytes: number,
  totalBytes: number | null,
) => void

/** Far above any single file of weights on the public hubs, below what would fill most disks by accident. */
export const MAX_MODEL_BYTES: number = 1024 ** 4

export interface FetchContext {
  readonly http: HttpClient
  /** Canonical text, for messages and as identity of partial files. */
  readonly sourceText: string
  /** Where a download may lie and be gone on with. */
  readonly partialFile: string
  /** Where a member may be unpacked to. */
  readonly memberFile: string
  /** What the weights must be; `null` = not pinned. */
  readonly sha256: string | null
  readonly sizeBytes: number | null
  /** No more is unpacked or downloaded of one file. */
  readonly maxBytes: number
  readonly onProgress: ProgressListener
  readonly signal: AbortSignal
}

/** A finished temporary file. */
export interface Fetched {
  readonly file: string
  /** sha256, hex, computed while the file was written. */
  readonly digest: string
  readonly sizeBytes: number
  readonly revision: string | null
  /** Removes what else was left in `partial`; called after publishing. */
  cleanUp(): Promise<void>
}
