import { expect, it } from 'vitest'
import { StopMatcher, StopStrings } from '../../src/text/stop-matcher.ts'
import { type SeededRandom, seededRandom } from '../support/seeded-random.ts'

const NUM_ROUNDS = 20_000

interface Answer {
  readonly text: string
  readonly stopped: string | null
}

/** The rule of the module's header, by searching the whole text: first end, then longest. */
function searchWhole(text: string, stops: readonly string[]): Answer {
  for (let end = 1; end <= text.length; end += 1) {
    const here = stops.filter((stop) => text.slice(0, end).endsWith(stop))
    const longest = here.sort((a, b) => b.length - a.length)[0]
    if (longest !== undefined)
      return { text: text.slice(0, end - longest.length), stopped: longest }
  }
  return { text, stopped: null }
}

/** Longest end of `text` that is a proper beginning of a stop string. */
function mustBeHeld(text: string, stops: readonly string[]): string {
  for (let at = 0; at < text.length; at += 1) {
    const end = text.slice(at)
    if (stops.some((stop) => stop.length > end.length && stop.startsWith(end))) return end
  }
  return ''
}

function randomText(random: SeededRandom, maxLength: number, minLength = 0): string {
  const length = minLength + random.below(maxLength - minLength + 1)
  return Array.from({ length }, () => 'ab'[random.below(2)]).join('')
}

it('finds what a search of the whole text finds, however the text is cut', () => {
  for (let seed = 0; seed < NUM_ROUNDS; seed += 1) {
    const random = seededRandom(seed)
    const text = randomText(random, 24)
    const stops = Array.from({ length: random.below(5) }, () => randomText(random, 5, 1))
    const matcher = new StopMatcher(new StopStrings(stops))
    let emitted = ''
    let stopped: string | null = null
    let at = 0
    while (at < text.length) {
      const end = Math.min(text.length, at + random.below(4))
      const match = matcher.push(text.slice(at, end))
      at = end
      emitted += match.emit
      stopped = match.stopped
      if (stopped !== null) continue
      const held = mustBeHeld(text.slice(0, at), stops)
      expect({ seed, emitted, held }).toEqual({
        seed,
        emitted: text.slice(0, at - held.length),
        held,
      })
    }
    const answer = { text: emitted + matcher.flush(), stopped }
    expect({ seed, ...answer }).toEqual({ seed, ...searchWhole(text, stops) })
  }
})

it('needs time in proportion to the text, also for stop strings that almost match everywhere', () => {
  const stops = new StopStrings([`${'a'.repeat(4_000)}b`, `${'ab'.repeat(2_000)}c`])
  const matcher = new StopMatcher(stops)
  let emitted = 0
  for (let piece = 0; piece < 2_000; piece += 1)
    emitted += matcher.push('a'.repeat(100)).emit.length
  expect(emitted + matcher.flush().length).toBe(200_000)
})
