import { describe, expect, it } from 'vitest'
import { ServingError } from '../../../src/base/errors.ts'
import { StopMatcher, StopStrings } from '../../../src/text/stop-matcher.ts'

function run(stops: readonly string[], pieces: readonly string[]): unknown[] {
  const matcher = new StopMatcher(new StopStrings(stops))
  const seen: unknown[] = pieces.map((piece) => {
    const { emit, stopped } = matcher.push(piece)
    return stopped === null ? emit : { emit, stopped }
  })
  return [...seen, matcher.flush()]
}

describe('StopMatcher', () => {
  it('passes everything through at once without stop strings', () => {
    expect(run([], ['Hello', ' world'])).toEqual(['Hello', ' world', ''])
  })

  it('holds back only what could still become a stop string', () => {
    expect(run(['\n\nUser:'], ['Yes.\n', '\nUse', 'd'])).toEqual(['Yes.', '', '\n\nUsed', ''])
  })

  it('leaves the match and all that follows out of the answer', () => {
    expect(run(['END'], ['so E', 'ND of', ' story'])).toEqual([
      'so ',
      { emit: '', stopped: 'END' },
      { emit: '', stopped: 'END' },
      '',
    ])
  })

  it('emits the held text when the answer ends', () => {
    expect(run(['<stop>'], ['a <sto'])).toEqual(['a ', '<sto'])
  })

  it('takes the match that ends first, though a longer one began earlier', () => {
    expect(run(['abcd', 'bc'], ['abcd'])).toEqual([{ emit: 'a', stopped: 'bc' }, ''])
  })

  it('takes the longest of those that end together', () => {
    expect(run(['b', 'ab'], ['xab'])).toEqual([{ emit: 'x', stopped: 'ab' }, ''])
  })

  it('falls back to a shorter beginning when a longer one fails', () => {
    expect(run(['aab'], ['aa', 'a', 'b'])).toEqual(['', 'a', { emit: '', stopped: 'aab' }, ''])
  })

  it('finds a stop string of several characters outside the basic plane', () => {
    expect(run(['👋🏽'], ['hi 👋', '🏽!'])).toEqual(['hi ', { emit: '', stopped: '👋🏽' }, ''])
  })

  it('never emits half a character because another one begins alike', () => {
    // 😀 and 😃 share their first UTF-16 unit.
    expect(run(['😀'], ['a😃', 'b'])).toEqual(['a😃', 'b', ''])
  })

  it('serves many choices from one set of stop strings', () => {
    const stops = new StopStrings(['ab'])
    const [one, two] = [new StopMatcher(stops), new StopMatcher(stops)]
    expect(one.push('xa')).toEqual({ emit: 'x', stopped: null })
    expect(two.push('b')).toEqual({ emit: 'b', stopped: null })
    expect(one.push('b')).toEqual({ emit: '', stopped: 'ab' })
  })

  it.each([
    ['an empty string', ['']],
    ['half a surrogate pair', ['a\ud83d']],
    ['more text than stop strings may have', ['x'.repeat(20_000)]],
  ])('refuses %s', (_name, stops) => {
    const error = (() => {
      try {
        return new StopStrings(stops)
      } catch (thrown) {
        return thrown
      }
    })()
    expect(error).toBeInstanceOf(ServingError)
    expect(error).toMatchObject({ code: 'TEXT_BAD_STOP_STRING', status: 400, param: 'stop' })
  })
})
