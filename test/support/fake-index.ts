/** Puts a project into a `FakeWeb` the way simple indexes present it, as JSON or as HTML. */

import { type FakeWeb, sha256 } from './fake-web.ts'

export interface FakeRelease {
  readonly filename: string
  readonly bytes: Buffer
  readonly yanked?: boolean
  /** What the index says instead of the truth; `null` = nothing. */
  readonly sha256?: string | null
}

/** @returns the index's URL */
export function serveProject(
  web: FakeWeb,
  project: string,
  releases: readonly FakeRelease[],
  form: 'json' | 'html' = 'json',
): string {
  for (const { filename, bytes } of releases) web.serve(`/files/${filename}`, bytes)
  const page = form === 'json' ? jsonPage(releases) : htmlPage(releases)
  const contentType =
    form === 'json' ? 'application/vnd.pypi.simple.v1+json' : 'text/html; charset=utf-8'
  web.serve(`/simple/${project}/`, { bytes: Buffer.from(page), contentType })
  return `${web.origin}/simple/`
}

function hashOf(release: FakeRelease): string | null {
  return release.sha256 === undefined ? sha256(release.bytes) : release.sha256
}

function jsonPage(releases: readonly FakeRelease[]): string {
  const files = releases.map((release) => ({
    filename: release.filename,
    url: `../../files/${release.filename}`,
    hashes: hashOf(release) === null ? {} : { sha256: hashOf(release) },
    size: release.bytes.length,
    yanked: release.yanked ? 'broken' : false,
  }))
  return JSON.stringify({ meta: { 'api-version': '1.1' }, name: 'x', files })
}

function htmlPage(releases: readonly FakeRelease[]): string {
  const links = releases.map((release) => {
    const hash = hashOf(release)
    const fragment = hash === null ? '' : `#sha256=${hash}`
    const yanked = release.yanked ? ' data-yanked=""' : ''
    const href = `../../files/${release.filename}${fragment}`
    return `<a href="${href}" data-requires-python="&gt;=3.9"${yanked}>${release.filename}</a><br/>`
  })
  return `<!DOCTYPE html><html><body><h1>Links</h1>\n${links.join('\n')}\n</body></html>`
}
