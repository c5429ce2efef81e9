import { expect, it } from 'vitest'
import { LOCAL_PRINCIPAL, principalOf } from '../../../src/accounts/principal.ts'

it('a request without a token is local', () => {
  for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Basic abc', 'Bearer a b']) {
    expect(principalOf(header)).toBe(LOCAL_PRINCIPAL)
  }
  expect(principalOf(undefined, '')).toBe(LOCAL_PRINCIPAL)
})

it('a token is known by its digest: the same for the same token, whatever header brings it', () => {
  const digest = 'key:2bb80d537b1da3e38bd30361aa855686'
  expect(principalOf('Bearer secret')).toBe(digest)
  expect(principalOf('bearer   secret ')).toBe(digest)
  expect(principalOf(undefined, 'secret')).toBe(digest)
  expect(principalOf('Bearer other')).not.toBe(digest)
})
