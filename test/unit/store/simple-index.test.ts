import { describe, expect, it } from 'vitest'
import {
  compareVersions,
  parseReleaseVersion,
  type ReleaseVersion,
} from '../../../src/store/pypi/release-version.ts'
import { selectWheel } from '../../../src/store/pypi/select-wheel.ts'
import { type IndexFile, parseIndexPage } from '../../../src/store/pypi/simple-index.ts'

const page = new URL('https://index.example/simple/a-b/')
const hex = 'cd'.repeat(32)

describe('parseIndexPage', () => {
  it('reads HTML with entities, relative links, a base, hashes and yanking', () => {
    const html = `<html><head><base href="/root/"></head><body>
      <a href="f/a_b-1.0-py3-none-any.whl#sha256=${hex}" data-requires-python="&gt;=3">a_b-1.0-py3-none-any.whl</a>
      <A HREF='https://cdn.example/x?a=1&amp;b=2#md5=12' data-yanked="broken">
        a_b-1.1-py3-none-any.whl
      </A>
      <a>no link</a></body></html>`
    expect(parseIndexPage('text/html', html, page)).toEqual([
      {
        filename: 'a_b-1.0-py3-none-any.whl',
        url: 'https://index.example/root/f/a_b-1.0-py3-none-any.whl',
        digest: { algorithm: 'sha256', hex },
        sizeBytes: null,
        isYanked: false,
      },
      {
        filename: 'a_b-1.1-py3-none-any.whl',
        url: 'https://cdn.example/x?a=1&b=2',
        digest: null,
        sizeBytes: null,
        isYanked: true,
      },
    ])
  })

  it('reads JSON and leaves out what does not fit', () => {
    const files = [
      {
        filename: 'a',
        url: '../../f/a',
        hashes: { md5: '1', sha256: hex },
        size: 5,
        yanked: false,
      },
      { filename: 'b', url: 'https://cdn.example/b', hashes: { sha256: 'short' }, yanked: '' },
      { filename: 7, url: 'x' },
      null,
    ]
    expect(
      parseIndexPage('application/vnd.pypi.simple.v1+json', JSON.stringify({ files }), page),
    ).toEqual([
      {
        filename: 'a',
        url: 'https://index.example/f/a',
        digest: { algorithm: 'sha256', hex },
        sizeBytes: 5,
        isYanked: false,
      },
      {
        filename: 'b',
        url: 'https://cdn.example/b',
        digest: null,
        sizeBytes: null,
        isYanked: true,
      },
    ])
  })

  it('knows a page that is neither', () => {
    expect(parseIndexPage('application/json', 'sorry', page)).toBeUndefined()
    expect(parseIndexPage('application/json', '{}', page)).toBeUndefined()
    expect(parseIndexPage('image/png', '', page)).toBeUndefined()
  })
})

describe('release versions', () => {
  it('are in the order of PEP 440', () => {
    const ascending = [
      '1.0.dev1',
      '1.0a1.dev1',
      '1.0a1',
      '1.0a2',
      '1.0b1',
      '1.0rc1',
      '1.0',
      '1.0.post1',
      '1.0.1',
      '1.1',
      '1.10',
      '1!0.1',
    ]
    const parsed = ascending.map((text) => parseReleaseVersion(text) as ReleaseVersion)
    for (let i = 1; i < parsed.length; i++) {
      const order = compareVersions(parsed[i - 1] as ReleaseVersion, parsed[i] as ReleaseVersion)
      expect(order, `${ascending[i - 1]} < ${ascending[i]}`).toBeLessThan(0)
    }
    expect(parseReleaseVersion('1.0')).toEqual(parseReleaseVersion('v1.0.0'))
    expect(parseReleaseVersion('1.x')).toBeUndefined()
  })
})

describe('selectWheel', () => {
  function file(filename: string, isYanked = false): IndexFile {
    return { filename, url: 'https://cdn.example/f', digest: null, sizeBytes: null, isYanked }
  }
  const files = [
    file('a_b-0.9-py3-none-any.whl'),
    file('a_b-0.10-py2.py3-none-any.whl'),
    file('a_b-0.11-py3-none-any.whl', true),
    file('a_b-0.12rc1-py3-none-any.whl'),
    file('a_b-0.13-cp312-cp312-linux_x86_64.whl'),
    file('a_b-0.14.tar.gz'),
    file('other-9-py3-none-any.whl'),
  ]

  it('takes the latest release that is neither yanked nor preliminary nor for one platform', () => {
    expect(selectWheel(files, 'a-b', null)).toMatchObject({ version: '0.10' })
  })

  it('takes exactly the release that was asked for, even a yanked one', () => {
    expect(selectWheel(files, 'a-b', '0.11.0')).toMatchObject({ version: '0.11' })
    expect(selectWheel(files, 'a-b', '0.12rc1')).toMatchObject({ version: '0.12rc1' })
  })

  it('takes a preliminary release when there is nothing else', () => {
    expect(selectWheel([file('a_b-1rc1-py3-none-any.whl')], 'a-b', null)).toMatchObject({
      version: '1rc1',
    })
  })

  it('says what there is instead', () => {
    expect(selectWheel(files, 'a-b', '7')).toBe('wheels of 0.9, 0.10, 0.11, 0.12rc1')
    expect(selectWheel([], 'a-b', null)).toBe('no files')
    expect(selectWheel([file('a_b-1.tar.gz')], 'a-b', null)).toContain('none of them a wheel')
    expect(selectWheel([file('a_b-1-py3-none-any.whl', true)], 'a-b', null)).toContain('yanked')
  })
})
