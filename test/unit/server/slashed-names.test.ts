import { expect, it } from 'vitest'
import { escapeSlashes } from '../../../src/server/slashed-names.ts'

it.each([
  ['GET', '/v1/models', '/v1/models'],
  ['GET', '/v1/models/a', '/v1/models/a'],
  ['GET', '/v1/models/a/b?x=1/2', '/v1/models/a%2Fb?x=1/2'],
  ['GET', '/v1/models/a%2Fb', '/v1/models/a%2Fb'],
  ['GET', '/v1/models/a/b/', '/v1/models/a%2Fb'],
  ['POST', '/v1/models/a/b/c/load', '/v1/models/a%2Fb%2Fc/load'],
  ['POST', '/v1/models/a/unload?', '/v1/models/a/unload?'],
  ['GET', '/v1/models/a/b/profiles', '/v1/models/a%2Fb/profiles'],
  // Only where the verb is one of this method's is it no part of the name.
  ['GET', '/v1/models/a/load', '/v1/models/a%2Fload'],
  ['POST', '/v1/models/load', '/v1/models/load'],
  ['PATCH', '/v1/endpoints/a/b', '/v1/endpoints/a%2Fb'],
  ['GET', '/v1/aliases/a/b/history', '/v1/aliases/a%2Fb/history'],
  ['POST', '/v1/chat/completions', '/v1/chat/completions'],
  ['GET', '/v1/models/%zz/b', '/v1/models/%zz%2Fb'],
])('%s %s is routed as %s', (method, url, expected) => {
  expect(escapeSlashes(method, url)).toBe(expected)
})
