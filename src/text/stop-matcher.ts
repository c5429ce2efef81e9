/**
 * Finds stop strings in a text that comes in pieces, and holds back no more than could still become one.
 *
 * `StopStrings` is the automaton of one request (Aho and Corasick, 1975): a trie of the stop strings with failure links,
 * so that its state is always the longest end of the text so far that begins a stop string. `StopMatcher` is one
 * choice's place in it and owns the held text. Neither knows tokens.
 *
 * The rule: the match that **ends first** wins, and among those that end there the longest, so the answer depends on
 * the text alone and never on how it was cut into tokens. A match is not part of the answer.
 *
 * I1 emitted + held = text so far, until a stop string is found.
 * I2 held = the longest end of the text that is a proper beginning of a stop string.
 *
 *   stop "\n\nUser:"    text "Yes.\n\nU"    →   emitted "Yes." | held "\n\nU"
 *
 * Cost: amortised O(1) a UTF-16 unit; memory O(total length of the stop strings).
 */

import { quote, textError } from './errors.ts'

/** All stop strings of a request together, in UTF-16 units. */
const MAX_TOTAL_LENGTH = 16_384

/** A place in the trie: `depth` units of some stop string have been read. */
interface State {
  readonly depth: number
  readonly next: Map<number, State>
  fail: State
  /** The longest stop string that ends here. */
  match: string | null
}

/** Immutable once made; shared by all choices of a request. */
export class StopStrings {
  readonly root: State

  /** @throws ServingError TEXT_BAD_STOP_STRING for an empty one, one with half a surrogate pair, or too much text */
  constructor(stops: readonly string[]) {
    this.root = newState(0)
    let totalLength = 0
    for (const stop of stops) {
      totalLength += checkedLength(stop)
      if (totalLength > MAX_TOTAL_LENGTH) {
        throw bad(`at most ${MAX_TOTAL_LENGTH} characters in all`, 'more')
      }
      this.#add(stop)
    }
    this.#link()
  }

  #add(stop: string): void {
    let state = this.root
    for (let at = 0; at < stop.length; at += 1) {
      const unit = stop.charCodeAt(at)
      let child = state.next.get(unit)
      if (child === undefined) {
        child = newState(state.depth + 1)
        state.next.set(unit, child)
      }
      state = child
    }
    state.match = stop
  }

  /** Breadth first: a state's failure is less deep than the state, so it is complete before it is needed. */
  #link(): void {
    const queue: State[] = [...this.root.next.values()]
    for (const child of queue) child.fail = this.root
    for (const state of queue) {
      for (const [unit, child] of state.next) {
        child.fail = step(state.fail, unit)
        child.match ??= child.fail.match
        queue.push(child)
      }
    }
  }
}

export interface StopMatch {
  /** Text that is certain to be part of the answer; may be empty. */
  readonly emit: string
  /** The stop string that was found; the answer ends before it. */
  readonly stopped: string | null
}

export class StopMatcher {
  #state: State
  #held = ''
  #stopped: string | null = null

  constructor(stops: StopStrings) {
    this.#state = stops.root
  }

  /** The next piece of text. After a match all further text is dropped. */
  push(text: string): StopMatch {
    if (this.#stopped !== null) return { emit: '', stopped: this.#stopped }
    let state = this.#state
    for (let at = 0; at < text.length; at += 1) {
      state = step(state, text.charCodeAt(at))
      if (state.match === null) continue
      this.#stopped = state.match
      const known = this.#held + text.slice(0, at + 1)
      this.#held = ''
      return { emit: known.slice(0, known.length - state.match.length), stopped: state.match }
    }
    this.#state = state
    const known = this.#held + text
    this.#held = state.depth === 0 ? '' : known.slice(known.length - state.depth)
    return { emit: known.slice(0, known.length - state.depth), stopped: null }
  }

  /** The end of the answer: held text became no stop string after all. */
  flush(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/** Follow `unit`; the root is where a failed search ends. */
function step(from: State, unit: number): State {
  let state = from
  for (;;) {
    const child = state.next.get(unit)
    if (child !== undefined) return child
    if (state.depth === 0) return state
    state = state.fail
  }
}

function newState(depth: number): State {
  const state: State = { depth, next: new Map(), fail: undefined as never, match: null }
  state.fail = state
  return state
}

function checkedLength(stop: string): number {
  if (stop.length === 0) throw bad('strings of at least one character', 'an empty string')
  // With half a pair a match could cut a character of the answer in two.
  if (/\p{Surrogate}/u.test(stop)) throw bad('well-formed Unicode', quote(stop))
  return stop.length
}

function bad(expected: string, got: string): Error {
  return textError('TEXT_BAD_STOP_STRING', { param: 'stop', details: { expected, got } })
}
