/**
 * The store: from a `ModelReference` to a verified file on this machine.
 *
 * Owns the folder under `root`, its locks and, once something was fetched, the connections. Knows no file format.
 *
 *   fetch   stored? ── yes ──────────────────────────────────────────▶ StoredModel, at once, nothing hashed again
 *             └─ no ─▶ lock ─▶ stored meanwhile? ─▶ fetcher ─▶ verify ─▶ blob ─▶ ref ─▶ StoredModel
 *
 * I1: a path that is returned holds exactly the bytes of its digest as they were verified when written or hashed.
 * I2: one source is fetched once at a time, over all processes; callers inside one process share the fetch.
 * I3: a caller that aborts leaves the fetch to the others; with the last caller it ends and stays resumable.
 */

import { rm } from 'node:fs/promises'
import { join, sep } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { storeError } from './errors.ts'
import type { HttpOptions } from './http/http-client.ts'
import { rememberDigest } from './local-file.ts'
import { joinedDigest } from './local-files.ts'
import { digestOfLocalModel, hashLocalModel, knownLocalModel } from './local-model.ts'
import type { ModelReference } from './model-reference.ts'
import type { PipConfig } from './pypi/pip-config.ts'
import { SingleFlight } from './single-flight.ts'
import { type RemoteFile, sourceText } from './source.ts'
import { takeLock } from './source-lock.ts'
import { fetchJoined } from './sources/fetch-joined.ts'
import { fetchSplit } from './sources/fetch-split.ts'
import type { HubOptions } from './sources/hub-api.ts'
import type { RemoteSource, RemoteSources, SourceSet } from './sources/remote-sources.ts'
import {
  type FetchContext,
  type Fetched,
  MAX_MODEL_BYTES,
  type ProgressListener,
} from './sources/source-fetcher.ts'
import { type StoredRef, StoreFolder } from './store-folder.ts'

/** Weights on this machine. */
export interface StoredModel {
  readonly path: string
  /** sha256 of the file, 64 lower-case hex digits; of several files as `local-files.ts` says. */
  readonly digest: string
  readonly sizeBytes: number
  /** Canonical text of where it came from. */
  readonly source: string
  /** Commit, release or ETag that the source resolved to; `null` for a path. */
  readonly revision: string | null
}

export interface StoreOptions {
  /** Folder of the store; made when needed. */
  readonly root: string
  readonly pip: PipConfig
  readonly hub: HubOptions
  readonly http: HttpOptions
  readonly clock: Clock
  /** How long to wait for another process that fetches the same source, milliseconds; default 1 h. */
  readonly lockPatienceMs?: number
}

export interface FetchOptions {
  readonly onProgress?: ProgressListener
  readonly signal?: AbortSignal
  /** Ask the source again even when something is stored, for branches and releases that move on. */
  readonly refresh?: boolean
}

export class ModelStore {
  readonly root: string
  private readonly options: StoreOptions
  private readonly folder: StoreFolder
  private remote: Promise<RemoteSources> | undefined
  private readonly flights: SingleFlight<StoredModel>

  constructor(options: StoreOptions) {
    this.root = options.root
    this.options = options
    this.folder = new StoreFolder(options.root)
    this.remote = undefined
    this.flights = new SingleFlight()
  }

  /**
   * Have the model on this machine.
   *
   * A path is not copied; its digest is computed once and kept while size, times and inode stay.
   *
   * @throws ServingError of this room; the signal's reason when it is aborted
   *
   * Cost: a stored model takes three small reads; a path seen first, or a blob that was touched, is hashed at about 1 s a
   * gigabyte.
   */
  async fetch(reference: ModelReference, options: FetchOptions = {}): Promise<StoredModel> {
    const { onProgress = ignoreProgress, signal, refresh = false } = options
    signal?.throwIfAborted()
    if (!refresh) {
      const stored = await this.find(reference)
      if (stored !== undefined && (await this.isWhole(stored, onProgress, signal))) return stored
    }
    // The digest is part of the key: who expects other bytes must not be given these.
    const key = `${sourceText(reference.source)} ${reference.sha256 ?? ''}`
    const start = (listener: ProgressListener, ended: AbortSignal) =>
      this.obtain(reference, { refresh, onProgress: listener, signal: ended })
    return this.flights.join(key, start, { onProgress, signal })
  }

  /** What is stored of a reference, without any network; `undefined` when it would have to be fetched or hashed. */
  async find(reference: ModelReference): Promise<StoredModel | undefined> {
    const { source, sha256 } = reference
    const text = sourceText(source)
    if (source.kind === 'file') {
      const stored = await knownLocalModel(this.folder, source.path)
      return stored !== undefined && (sha256 === null || stored.digest === sha256)
        ? stored
        : undefined
    }
    const ref = await this.folder.readRef(text)
    if (ref !== undefined && (sha256 === null || ref.digest === sha256)) {
      const stored = await this.storedModel(ref)
      if (stored !== undefined) return stored
    }
    if (sha256 === null) return undefined
    // The same bytes may have come from another source.
    const sizeBytes = await this.folder.blobSize(sha256)
    if (sizeBytes === undefined || sizeBytes !== (reference.sizeBytes ?? sizeBytes))
      return undefined
    return {
      path: this.folder.blobPath(sha256),
      digest: sha256,
      sizeBytes,
      source: text,
      revision: null,
    }
  }

  /** Everything that was fetched into the store, by source. */
  async list(): Promise<readonly StoredModel[]> {
    const models: StoredModel[] = []
    for (const ref of await this.folder.listRefs()) {
      const model = await this.storedModel(ref)
      if (model !== undefined) models.push(model)
    }
    return models
  }

  /**
   * Hash the file again and compare with what was said of it.
   *
   * A blob that differs is removed with its ref, so that the next fetch brings it anew; a file elsewhere is left alone.
   *
   * @throws ServingError STORE_DIGEST_MISMATCH
   */
  async verify(model: StoredModel, options: Omit<FetchOptions, 'refresh'> = {}): Promise<void> {
    const { onProgress = ignoreProgress, signal } = options
    const got = await digestOfLocalModel(model.path, onProgress, signal)
    if (got === model.digest) return
    if (model.path.startsWith(`${this.root}${sep}`)) {
      await this.removeModel(model.digest, model.source)
      await this.folder.removeRef(model.source)
    }
    throw mismatch(model.source, model.digest, got)
  }

  /** Ends fetches under way (they stay resumable) and closes all connections. */
  async close(): Promise<void> {
    this.flights.abort(new Error('the store was closed'))
    // What could not be loaded has no connections.
    const remote = await this.remote?.catch(() => undefined)
    await remote?.http.close()
  }

  private async obtain(
    reference: ModelReference,
    options: { refresh: boolean; onProgress: ProgressListener; signal: AbortSignal },
  ): Promise<StoredModel> {
    const { onProgress, signal } = options
    const { source } = reference
    const text = sourceText(source)
    if (source.kind === 'file') {
      const model = await hashLocalModel(this.folder, source.path, onProgress, signal)
      if (reference.sha256 === null || model.digest === reference.sha256) return model
      throw mismatch(source.path, reference.sha256, model.digest)
    }
    await this.folder.prepare()
    const release = await takeLock({
      file: this.folder.lockPath(text),
      source: text,
      patienceMs: this.options.lockPatienceMs ?? 3_600_000,
      signal,
      onWait: () => onProgress('wait', 0, null),
    })
    try {
      // Another process may have brought it while we waited.
      const stored = options.refresh ? undefined : await this.find(reference)
      return stored ?? (await this.bring(source, reference, options))
    } finally {
      await release()
    }
  }

  private async bring(
    source: RemoteSource,
    reference: ModelReference,
    { onProgress, signal }: { onProgress: ProgressListener; signal: AbortSignal },
  ): Promise<StoredModel> {
    const remote = await this.reach()
    const context: FetchContext = {
      http: remote.http,
      ...this.placesOf(source),
      sha256: reference.sha256,
      sizeBytes: reference.sizeBytes,
      maxBytes: reference.sizeBytes ?? MAX_MODEL_BYTES,
      onProgress,
      signal,
    }
    const set = await remote.setOf(source, context)
    if (set !== undefined) return this.bringSet(set, context)
    const fetched = await this.fetchBytes(source, context)
    const { digest, sizeBytes, revision } = fetched
    const path = await this.addBlob(fetched)
    const text = context.sourceText
    const fetchedAtMs = this.options.clock.wallMs()
    await this.folder.writeRef({ source: text, digest, sizeBytes, revision, fetchedAtMs })
    return { path, digest, sizeBytes, source: text, revision }
  }

  private async bringSet(set: SourceSet, context: FetchContext): Promise<StoredModel> {
    const { entry, totalBytes } = set
    const { parts, revision } = await fetchSplit(set.files, totalBytes, this.partTools(), context)
    const digest = joinedDigest(parts)
    const source = context.sourceText
    if (context.sha256 !== null && context.sha256 !== digest) {
      throw mismatch(source, context.sha256, digest)
    }
    const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0)
    const folder = await this.folder.addSet(digest, parts)
    for (const part of parts)
      await rememberDigest(this.folder, join(folder, part.name), part.digest)
    const fetchedAtMs = this.options.clock.wallMs()
    await this.folder.writeRef({ source, digest, sizeBytes, parts, entry, revision, fetchedAtMs })
    return { path: join(folder, entry), digest, sizeBytes, source, revision }
  }

  private placesOf(source: RemoteSource) {
    const text = sourceText(source)
    return {
      sourceText: text,
      partialFile: this.folder.partialPath(text),
      memberFile: this.folder.memberPath(text),
    }
  }

  private partTools() {
    return {
      placesOf: (part: RemoteFile) => this.placesOf(part),
      fetch: (part: RemoteFile, context: FetchContext) => this.fetchBytes(part, context),
      keep: (fetched: Fetched) => this.addBlob(fetched),
    }
  }

  /** Publish, remember, tidy up. */
  private async addBlob({ file, digest, sizeBytes, cleanUp }: Fetched): Promise<string> {
    const path = await this.folder.addBlob(file, digest, sizeBytes)
    await rememberDigest(this.folder, path, digest)
    await cleanUp()
    return path
  }

  private async fetchBytes(source: RemoteSource, context: FetchContext): Promise<Fetched> {
    // What a killed process had unpacked is of unknown length.
    await rm(context.memberFile, { force: true })
    if (source.kind === 'joined') return fetchJoined(source, this.partTools(), context)
    return (await this.reach()).fetch(source, context)
  }

  /** Whoever asks after a failure tries again. */
  private reach(): Promise<RemoteSources> {
    this.remote ??= this.loadRemote().catch((error: unknown) => {
      this.remote = undefined
      throw error
    })
    return this.remote
  }

  private async loadRemote(): Promise<RemoteSources> {
    const { RemoteSources } = await import('./sources/remote-sources.ts')
    return new RemoteSources(this.options)
  }

  /** A blob that was touched since it was hashed is hashed again; one that is damaged is removed, to be fetched anew. */
  private async isWhole(
    { path, digest, source }: StoredModel,
    onProgress: ProgressListener,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!path.startsWith(`${this.root}${sep}`)) return true
    const known = await knownLocalModel(this.folder, path)
    const got = known ?? (await hashLocalModel(this.folder, path, onProgress, signal))
    if (got.digest === digest) return true
    await this.removeModel(digest, source)
    return false
  }

  /** Also all blobs of a set: which of them is damaged is not worth asking. */
  private async removeModel(digest: string, source: string): Promise<void> {
    const ref = await this.folder.readRef(source)
    for (const part of ref?.parts ?? [{ digest }]) await this.folder.removeBlob(part.digest)
  }

  private async storedModel(ref: StoredRef): Promise<StoredModel | undefined> {
    const { digest, sizeBytes, source, revision, parts } = ref
    // A size that differs is damage (a full disk restored from backup, a person): it must be fetched again.
    for (const part of parts ?? [ref]) {
      if ((await this.folder.blobSize(part.digest)) !== part.sizeBytes) return undefined
    }
    const path =
      parts === undefined
        ? this.folder.blobPath(digest)
        : // Refs of before folders could be fetched name no entry: they are of split models.
          join(await this.folder.addSet(digest, parts), ref.entry ?? parts[0]?.name ?? '')
    return { path, digest, sizeBytes, source, revision }
  }
}

function mismatch(source: string, expected: string, got: string): Error {
  const details = { source, algorithm: 'sha256', expected, got }
  return storeError('STORE_DIGEST_MISMATCH', { details })
}

function ignoreProgress(): void {}
