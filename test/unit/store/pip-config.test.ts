import { describe, expect, it } from 'vitest'
import { DEFAULT_INDEX_URL, readPipConfig } from '../../../src/store/pypi/pip-config.ts'
import { readStoreOptions } from '../../../src/store/store-options.ts'

function read(env: Record<string, string>, files: Record<string, string> = {}) {
  return readPipConfig(env, (path) => files[path])
}

describe('readPipConfig', () => {
  it('is the public index when nothing is configured', () => {
    expect(read({ HOME: '/home/a' })).toEqual({
      indexUrls: [DEFAULT_INDEX_URL],
      noIndex: false,
      certificateFile: null,
      proxy: null,
      trustedHosts: [],
    })
  })

  it('reads files in pip’s order and lets variables win', () => {
    const files = {
      '/etc/pip.conf': '[global]\nindex-url = https://site/simple\ncert = /etc/ca.pem\n',
      '/home/a/.config/pip/pip.conf':
        '# comment\n[install]\nindex_url: https://user/simple/\n[list]\nindex-url = https://never/\n',
      '/named.conf':
        '[global]\nextra-index-url =\n  https://one/simple\n  https://two/simple\ntrusted-host = one two\n',
    }
    const env = { HOME: '/home/a', PIP_CONFIG_FILE: '/named.conf' }
    expect(read(env, files)).toEqual({
      indexUrls: ['https://user/simple/', 'https://one/simple', 'https://two/simple'],
      noIndex: false,
      certificateFile: '/etc/ca.pem',
      proxy: null,
      trustedHosts: ['one', 'two'],
    })
    const won = read({ ...env, PIP_INDEX_URL: 'https://env/simple', PIP_NO_INDEX: '1' }, files)
    expect(won.indexUrls[0]).toBe('https://env/simple')
    expect(won.noIndex).toBe(true)
  })

  it('reads no file when PIP_CONFIG_FILE is /dev/null', () => {
    const files = { '/etc/pip.conf': '[global]\nindex-url = https://site/simple\n' }
    expect(read({ PIP_CONFIG_FILE: '/dev/null' }, files).indexUrls).toEqual([DEFAULT_INDEX_URL])
  })
})

describe('readStoreOptions', () => {
  const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n'

  it('takes hub, proxies and certificates from the environment that it is handed', () => {
    const env = {
      PIP_CERT: '/ca.pem',
      NODE_EXTRA_CA_CERTS: '/extra.pem',
      HF_TOKEN: 't',
      https_proxy: 'http://proxy:1',
      NO_PROXY: 'localhost',
    }
    const files: Record<string, string> = { '/ca.pem': pem, '/extra.pem': `${pem}2` }
    const { http, hub } = readStoreOptions({ root: '/r', env, readFile: (path) => files[path] })
    expect(hub).toEqual({ endpoint: undefined, token: 't' })
    expect(http).toMatchObject({ httpsProxy: 'http://proxy:1', noProxy: 'localhost' })
    expect(http.certificates?.().slice(-2)).toEqual([pem, `${pem}2`])
    expect(http.certificates?.().length).toBeGreaterThan(50)
  })

  it('leaves the authorities to Node when pip names none', () => {
    const { http } = readStoreOptions({ root: '/r', env: {}, readFile: () => undefined })
    expect(http.certificates?.()).toEqual([])
  })

  it('names a certificate file that has none, when it is needed', () => {
    const env = { PIP_CERT: '/ca.pem' }
    const absent = readStoreOptions({ root: '/r', env, readFile: () => undefined })
    expect(() => absent.http.certificates?.()).toThrow('/ca.pem')
    const other = readStoreOptions({ root: '/r', env, readFile: () => 'x' })
    expect(() => other.http.certificates?.()).toThrow('no certificate')
  })
})
