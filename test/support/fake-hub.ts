/** Lets a `FakeWeb` answer like a Hugging Face hub with one repository: revisions, paths-info, tree (two entries a page), resolve, a second host. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { type FakeWeb, sha256 } from './fake-web.ts'

export interface FakeRepository {
  readonly name: string
  /** Branches and tags to commits. */
  readonly revisions: Map<string, string>
  readonly files: Readonly<Record<string, Buffer>>
  readonly token?: string
}

/** Files are served by `storage`, as the hub's own come from another host after a redirect. */
export function serveHub(web: FakeWeb, storage: FakeWeb, repository: FakeRepository): void {
  for (const [file, bytes] of Object.entries(repository.files)) storage.serve(`/lfs/${file}`, bytes)
  web.handler = (request, response, body) =>
    answer(request, response, { body, repository, storage })
}

interface Asked {
  readonly body: string
  readonly repository: FakeRepository
  readonly storage: FakeWeb
}

function answer(request: IncomingMessage, response: ServerResponse, asked: Asked): boolean {
  const { repository } = asked
  const { pathname } = new URL(request.url ?? '/', 'http://x')
  if (
    repository.token !== undefined &&
    request.headers.authorization !== `Bearer ${repository.token}`
  ) {
    return json(response, 401, { error: 'Invalid username or password.' })
  }
  const info = pathname.match(/^\/api\/models\/([^/]+\/[^/]+)\/revision\/(.+)$/)
  if (info !== null) {
    const commit = repository.revisions.get(decodeURIComponent(info[2] as string))
    if (info[1] !== repository.name || commit === undefined) {
      return json(response, 404, { error: 'Repository not found' })
    }
    const { name } = repository
    return json(response, 200, {
      _id: '1',
      id: name,
      sha: commit,
      lastModified: '2025-01-01T00:00:00Z',
    })
  }
  const paths = pathname.match(/^\/api\/models\/([^/]+\/[^/]+)\/paths-info\/(.+)$/)
  if (paths !== null) return pathsInfo(response, decodeURIComponent(paths[2] as string), asked)
  const tree = pathname.match(/^\/api\/models\/([^/]+\/[^/]+)\/tree\/([^/]+)(?:\/(.+))?$/)
  if (tree !== null) return treePage(request, response, decodeURIComponent(tree[3] ?? ''), asked)
  const resolve = pathname.match(/^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/)
  if (resolve === null) return false
  const [, , commit = '', file = ''] = resolve
  const bytes = repository.files[decodeURIComponent(file)]
  if (bytes === undefined) return json(response, 404, { error: 'Entry not found' })
  response
    .writeHead(302, {
      location: `${asked.storage.origin}/lfs/${file}`,
      'x-repo-commit': commit,
      'x-linked-etag': `"${sha256(bytes)}"`,
      'x-linked-size': String(bytes.length),
    })
    .end()
  return true
}

function pathsInfo(response: ServerResponse, commit: string, { body, repository }: Asked): boolean {
  if (![...repository.revisions.values()].includes(commit)) {
    return json(response, 404, { error: 'Revision not found' })
  }
  const { paths } = JSON.parse(body) as { paths: string[] }
  const found = paths.flatMap((path) => {
    const bytes = repository.files[path]
    if (bytes === undefined) return []
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 }
    return [{ type: 'file', path, oid: 'a'.repeat(40), size: bytes.length, lfs }]
  })
  return json(response, 200, found)
}

const PAGE = 2

function treePage(
  request: IncomingMessage,
  response: ServerResponse,
  folder: string,
  { repository }: Asked,
): boolean {
  const prefix = folder === '' ? '' : `${folder}/`
  const entries = new Map<string, object>()
  for (const [file, bytes] of Object.entries(repository.files)) {
    if (!file.startsWith(prefix)) continue
    const [name = '', ...deeper] = file.slice(prefix.length).split('/')
    const path = `${prefix}${name}`
    const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 }
    const oid = 'a'.repeat(40)
    const entry =
      deeper.length > 0 ? { type: 'directory', size: 0 } : { type: 'file', size: 134, lfs }
    entries.set(path, { ...entry, path, oid })
  }
  if (entries.size === 0) return json(response, 404, { error: 'Path not found' })
  const url = new URL(request.url ?? '/', `http://${request.headers.host}`)
  const from = Number(url.searchParams.get('cursor') ?? 0)
  if (from + PAGE < entries.size) {
    url.searchParams.set('cursor', String(from + PAGE))
    response.setHeader('link', `<${url.href}>; rel="next"`)
  }
  return json(response, 200, [...entries.values()].slice(from, from + PAGE))
}

function json(response: ServerResponse, status: number, value: unknown): boolean {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  return true
}
