import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { MAX_FILE_BYTES, parseConfigFile, plainOf } from '../../../src/config/document.ts'

const parse = (text: string) => parseConfigFile({ path: 'ingot.yaml', text })
const plain = (text: string) => plainOf(parse(text))

function refusal(text: string): { code: string; message: string } {
  try {
    parse(text)
  } catch (error) {
    if (!(error instanceof ServingError)) throw error
    return { code: error.code, message: error.message }
  }
  throw new Error('expected a refusal')
}

describe('a configuration file', () => {
  it('is YAML 1.2, with the place of every value', () => {
    const root = parse('a: 1\nb:\n  - x\n  - yes\n')
    expect(root).toEqual({
      kind: 'map',
      at: { line: 1, column: 1 },
      entries: [
        {
          key: 'a',
          at: { line: 1, column: 1 },
          value: { kind: 'scalar', value: 1, text: '1', at: { line: 1, column: 4 } },
        },
        {
          key: 'b',
          at: { line: 2, column: 1 },
          value: {
            kind: 'list',
            at: { line: 3, column: 3 },
            items: [
              { kind: 'scalar', value: 'x', text: 'x', at: { line: 3, column: 5 } },
              { kind: 'scalar', value: 'yes', text: 'yes', at: { line: 4, column: 5 } },
            ],
          },
        },
      ],
    })
  })

  it.each([
    ['JSON', '{"a": {"b": [1, 2.5, true, null, "\\u00e9\\/"]}}'],
    ['JSON indented with tabs', '{\n\t"a": {\n\t\t"b": [1, 2.5, true, null, "\\u00e9/"]\n\t}\n}'],
    ['YAML', 'a:\n  b: [1, 2.5, true, null, "é/"]\n'],
    ['YAML after a byte order mark, with CR LF', '\uFEFFa:\r\n  b: [1, 2.5, true, ~, é/]\r\n'],
    [
      'YAML between document marks',
      '---\na: {b: [1, 2.5, true, , é/]}\n...\n'.replace(', ,', ', null,'),
    ],
  ])('reads %s', (_, text) => {
    expect(plain(text)).toEqual({ a: { b: [1, 2.5, true, null, 'é/'] } })
  })

  it('repeats what an anchor stands for, each with the alias’s place', () => {
    const root = parse('a: &x {b: 1}\nc: *x\nd: [*x, *x]\n')
    expect(plainOf(root)).toEqual({ a: { b: 1 }, c: { b: 1 }, d: [{ b: 1 }, { b: 1 }] })
    expect(root.entries[1]?.value.at).toEqual({ line: 2, column: 4 })
  })

  it('keeps a key such as __proto__ a key', () => {
    const read = plain('__proto__: {polluted: 1}\n')
    expect(Object.keys(read as object)).toEqual(['__proto__'])
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  it.each([
    ['nothing', '', '1:1: .*got nothing;'],
    ['a list', '- a\n', '1:1: .*got a list of 1;'],
    ['a word', 'hello', '1:1: .*got "hello";'],
    ['a quote that does not end', 'a: "x', '1:6: .*Missing closing'],
    ['indentation that does not fit', 'a: 1\n  b: 2', '1:4: .*got what is no YAML'],
    ['a tab as indentation', 'a:\n\tb: 1', '2:1: .*Tabs are not allowed'],
    ['a second document', 'a: 1\n---\nb: 2\n', '\\d:1: .*multiple documents'],
    ['a key that is a number', '1: 2', '1:1: .*a key that is no text'],
    ['a key that is a list', '? [a]\n: 1', '1:3: .*a key that is no text'],
    ['a merge key', 'x: &x {a: 1}\ny: {<<: *x}', '2:5: .*a merge key \\(<<\\)'],
    ['a known tag', 'a: !!str 1', '1:\\d+: .*the tag tag:yaml.org,2002:str'],
    ['an unknown tag', 'a: !!js/function "x"', '1:4: .*Unresolved tag'],
    ['a tag on a key', '!!str a: 1', '1:\\d+: .*the tag'],
    ['a tag on a map', 'a: !!map {b: 1}', '1:\\d+: .*the tag'],
    ['a directive', '%YAML 1.1\n---\na: yes', '1:1: .*a directive'],
    ['an anchor that is not there', 'a: *b', '1:4: .*\\*b that no value before it has'],
    ['an anchor inside itself', 'a: &a [*a]', '1:8: .*\\*a inside its own value'],
    ['an anchor inside itself, deeper', 'a: &a {b: {c: *a}}', '1:\\d+: .*inside its own value'],
  ])('refuses %s with its place', (_, text, message) => {
    const error = refusal(text)
    expect(error.code).toBe('CONFIG_FILE_INVALID')
    expect(error.message).toMatch(new RegExp(`^ingot\\.yaml:${message}`))
  })

  it.each(['a: 1\nb: 2\na: 3\n', '{"a": 1, "b": 2,\n\n "a": 3}'])(
    'refuses a key twice, in %j too',
    (text) => {
      expect(refusal(text)).toEqual({
        code: 'CONFIG_DUPLICATE_KEY',
        message:
          'ingot.yaml:3:' +
          `${text.startsWith('{') ? 2 : 1}: expected every key once, got "a" again, which line 1 has already; remove one of them`,
      })
    },
  )
})

describe('a hostile file is refused in less than a second', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x,x]']
  for (let at = 1; at < 9; at += 1) {
    const [name, before] = ['abcdefghi'[at], 'abcdefghi'[at - 1]]
    bomb.push(`${name}: &${name} [${Array(10).fill(`*${before}`).join(',')}]`)
  }
  const lines = (count: number, line: (at: number) => string) =>
    Array.from({ length: count }, (_, at) => line(at)).join('\n')
  it.each([
    ['too many bytes', `a: ${'x'.repeat(MAX_FILE_BYTES)}`],
    ['a million brackets', '['.repeat(1_000_000)],
    ['many braces', '{"a":'.repeat(200_000)],
    ['a million dashes, which end the parser’s process', '- '.repeat(500_000)],
    ['many question marks', '? '.repeat(500_000)],
    ['many colons', ': '.repeat(500_000)],
    ['many anchors in a row', '&a '.repeat(300_000)],
    ['many quotes', '"'.repeat(1_000_000)],
    ['many commas', `[${','.repeat(1_000_000)}]`],
    ['many lines', '\n'.repeat(1_000_000)],
    ['many keys', lines(60_000, (at) => `k${at}: 1`)],
    ['many aliases', `a: &a 1\n${lines(40_000, (at) => `k${at}: *a`)}`],
    ['deep indentation', lines(1000, (at) => `${' '.repeat(at)}a:`)],
    ['nesting of 33 maps', `${lines(33, (at) => `${' '.repeat(at)}a:`)} 1`],
    ['anchors that expand to 10^9 values', bomb.join('\n')],
  ])('%s', (_, text) => {
    const start = performance.now()
    expect(refusal(text).code).toBe('CONFIG_FILE_TOO_LARGE')
    expect(performance.now() - start).toBeLessThan(1000)
  })
})
