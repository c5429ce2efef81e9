/**
 * A model that is a folder on a hub: which of its files are fetched, and what of them the engine is given.
 *
 *   weights in the folder     what is fetched                                       given to the engine
 *   safetensors               what counts in a local folder (`folder-files.ts`)     the folder
 *   one exported graph        the same                                              the graph
 *   one GGUF model            its file, or all its parts                            the first file
 *   several graphs, GGUFs     nothing: the choice is the caller's                   –
 *
 * Asks for names only. I1: everything is of one commit.
 */

import { type ListFileEntry, listFiles } from '@huggingface/hub'
import { splitName } from '../../base/split-name.ts'
import { storeError } from '../errors.ts'
import { GRAPH_FOLDER } from '../exported-files.ts'
import { isModelFolder, modelFiles, sorted, TEMPLATE_FOLDER } from '../folder-files.ts'
import type { HubSource } from '../source.ts'
import { access, asking, commitOf, endpointOf, type HubOptions } from './hub-api.ts'
import type { FetchContext } from './source-fetcher.ts'

export interface HubFolder {
  readonly files: readonly HubFolderFile[]
  /** What of it is the model: a name of `files`, or empty for the folder. */
  readonly entry: string
  readonly totalBytes: number
}

export interface HubFolderFile {
  readonly source: HubSource
  /** Inside the model's folder. */
  readonly name: string
}

/** Mistral's own copy of the weights, beside those that transformers reads. */
const SECOND_COPY = /^consolidated.*\.safetensors$/
const MAX_SHOWN = 12

/** Files of these are models only with what lies beside them; a GGUF file is one by itself. */
const NEEDS_FOLDER = /\.(?:onnx|safetensors)$/i
const IS_FILE = /\.[a-z0-9]{2,8}$/i

/** Whether `source` may name more than one file. A version number at a folder's end looks like a file's. */
export function mayBeFolder({ file }: HubSource): boolean {
  return file === null || NEEDS_FOLDER.test(file) || !IS_FILE.test(file) || /\.\d+$/.test(file)
}

/** @throws ServingError STORE_HUB_NO_MODEL, STORE_HUB_CHOICE; as `asking` */
export async function findHubFolder(
  source: HubSource,
  options: HubOptions,
  context: FetchContext,
): Promise<HubFolder> {
  const { repository, revision, file } = source
  context.onProgress('resolve', 0, null)
  const place = file === null ? repository : `${repository}/${file}`
  const expected = `${place} at revision ${revision}`
  return asking(context, endpointOf(options), expected, async () => {
    const commit = await commitOf(source, options, context)
    const list = (path: string) => listing({ ...source, revision: commit }, path, options, context)
    const named = file !== null && NEEDS_FOLDER.test(file) ? file : null
    const folder = named === null ? (file ?? '') : await folderOf(named, list)
    const entries = await withInner(folder, list)
    const chosen = choose(entries, named === null ? null : inside(folder, named), context)
    const sizes = new Map(entries.map(({ name, sizeBytes }) => [name, sizeBytes]))
    return {
      entry: chosen.entry,
      totalBytes: chosen.names.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0),
      files: chosen.names.map((name) => ({
        name,
        source: { ...source, revision: commit, file: folder === '' ? name : `${folder}/${name}` },
      })),
    }
  })
}

interface Entry {
  /** Inside the model's folder, with slashes. */
  readonly name: string
  readonly sizeBytes: number
  readonly isFolder: boolean
}

type List = (path: string) => Promise<readonly ListFileEntry[]>

async function listing(
  { repository, revision }: HubSource,
  path: string,
  options: HubOptions,
  context: FetchContext,
): Promise<readonly ListFileEntry[]> {
  const encoded = path.split('/').map(encodeURIComponent).join('/')
  const asked = { repo: repository, revision, ...(path === '' ? {} : { path: encoded }) }
  const found: ListFileEntry[] = []
  for await (const entry of listFiles({ ...asked, ...access(options, context) })) found.push(entry)
  return found
}

/** Of a graph in `onnx`, the folder above, unless that one has a configuration of its own. */
async function folderOf(file: string, list: List): Promise<string> {
  const folder = file.split('/').slice(0, -1).join('/')
  if (folder !== GRAPH_FOLDER && !folder.endsWith(`/${GRAPH_FOLDER}`)) return folder
  const names = (await list(folder)).map(({ path }) => inside(folder, path))
  return isModelFolder(names) ? folder : folder.split('/').slice(0, -1).join('/')
}

async function withInner(folder: string, list: List): Promise<readonly Entry[]> {
  const toEntry = ({ path, size, lfs, type }: ListFileEntry): Entry => {
    const isFolder = type !== 'file'
    return { name: inside(folder, path), sizeBytes: lfs?.size ?? size, isFolder }
  }
  const top = (await list(folder)).map(toEntry)
  const all = [...top]
  for (const inner of [GRAPH_FOLDER, TEMPLATE_FOLDER]) {
    if (!top.some(({ name, isFolder }) => name === inner && isFolder)) continue
    all.push(...(await list(folder === '' ? inner : `${folder}/${inner}`)).map(toEntry))
  }
  return all.filter(({ name, isFolder }) => !isFolder && isPlain(name))
}

function choose(
  entries: readonly Entry[],
  named: string | null,
  context: FetchContext,
): { names: readonly string[]; entry: string } {
  const names = entries.map(({ name }) => name)
  const hasConfig = isModelFolder(names)
  const isInTop = (name: string) => !name.includes('/')
  const weights = names.filter((name) => isInTop(name) && name.endsWith('.safetensors'))
  const graphs = names.filter((name) => name.endsWith('.onnx'))
  const ggufs = sorted(names.filter((name) => isInTop(name) && name.endsWith('.gguf')))
  if (hasConfig && named !== null) {
    const graph = named.endsWith('.onnx') ? named : null
    return { names: modelFiles(withoutCopies(names), graph), entry: named }
  }
  if (hasConfig && weights.length > 0) {
    return { names: modelFiles(withoutCopies(names), null), entry: '' }
  }
  if (hasConfig && graphs.length === 1) {
    const [graph = ''] = graphs
    return { names: modelFiles(names, graph), entry: graph }
  }
  if (named !== null) throw noModel(context, 'no config.json beside it')
  if (hasConfig && graphs.length > 1) throw manyModels(context, sorted(graphs))
  const models = ggufs.filter((name) => (splitName(name)?.paths[0] ?? name) === name)
  const [model] = models
  if (model === undefined) {
    throw noModel(context, 'neither safetensors nor ONNX with a config.json, nor GGUF')
  }
  if (models.length > 1) throw manyModels(context, models)
  return { names: splitName(model)?.paths ?? [model], entry: model }
}

function withoutCopies(names: readonly string[]): readonly string[] {
  const hasOthers = names.some((name) => /^model.*\.safetensors$/.test(name))
  return hasOthers ? names.filter((name) => !SECOND_COPY.test(name)) : names
}

/** Names become names in the store. */
function isPlain(name: string): boolean {
  return name.split('/').every((part) => !['', '.', '..'].includes(part) && !/[\\\0]/.test(part))
}

function inside(folder: string, path: string): string {
  return folder === '' ? path : path.slice(folder.length + 1)
}

function noModel({ sourceText }: FetchContext, got: string): Error {
  return storeError('STORE_HUB_NO_MODEL', { details: { source: sourceText, got } })
}

function manyModels({ sourceText }: FetchContext, names: readonly string[]): Error {
  const more = names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : ''
  const found = `${names.slice(0, MAX_SHOWN).join(', ')}${more}`
  const details = { source: sourceText, number: names.length, found, first: names[0] ?? '' }
  return storeError('STORE_HUB_CHOICE', { details })
}
