/**
 * Names of models, endpoints and aliases may hold slashes (`organisation/name`), and many clients send them unescaped.
 * The router sees one segment: `/v1/models/org/name/load` becomes `/v1/models/org%2Fname/load`.
 *
 * Owns nothing; knows the verbs that may follow a name. A name that ends like a verb must be escaped by its caller.
 */

const VERBS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  '/v1/models/': { POST: ['load', 'unload'], GET: ['profiles'] },
  '/v1/endpoints/': {},
  '/v1/aliases/': { GET: ['history'] },
}

/** @param url - path and query, as they came */
export function escapeSlashes(method: string, url: string): string {
  const prefix = Object.keys(VERBS).find((start) => url.startsWith(start))
  if (prefix === undefined) return url
  const query = url.indexOf('?')
  const end = query < 0 ? url.length : query
  const parts = url.slice(prefix.length, end).replace(/\/$/, '').split('/')
  const last = parts.at(-1) ?? ''
  const hasVerb = parts.length > 1 && (VERBS[prefix]?.[method]?.includes(last) ?? false)
  const name = (hasVerb ? parts.slice(0, -1) : parts).join('%2F')
  return `${prefix}${name}${hasVerb ? `/${last}` : ''}${url.slice(end)}`
}
