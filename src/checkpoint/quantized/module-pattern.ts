/**
 * Names of modules as quantization configurations write them: a name, a class such as `Linear`, or `re:` and a regular
 * expression, which matches from the start of the name as Python's `re.match` does.
 *
 * A configuration is hostile input, and JavaScript's own expressions can take time without end. These are matched in
 * time proportional to pattern × name (Thompson's construction). What is beyond plain expressions (look-around,
 * back-references, lazy or possessive repetition) is refused when it is parsed.
 */

type Test = (character: string) => boolean

/** One state; `next` are states that need no character. */
interface State {
  readonly test: Test | null
  readonly edge: 'start' | 'end' | null
  next: State[]
}

interface Fragment {
  readonly start: State
  readonly end: State
}

const MAX_LENGTH = 512
const MAX_STATES = 4096
const MAX_REPEATS = 64
const SPECIAL = new Set('.^$*+?()[]{}|\\'.split(''))
const CLASSES: Readonly<Record<string, Test>> = {
  d: (c) => c >= '0' && c <= '9',
  w: (c) => /^\w$/.test(c),
  s: (c) => /^\s$/.test(c),
}

export type ModulePattern = (name: string) => boolean

/** @returns `undefined` when the text is no expression that is understood */
export function modulePattern(text: string): ModulePattern | undefined {
  if (text.length > MAX_LENGTH) return undefined
  const parser = new Parser(text)
  const machine = parser.parse()
  return machine && ((name) => matchesStart(machine, name))
}

class Parser {
  #at = 0
  #numStates = 0
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  parse(): Fragment | undefined {
    const whole = this.#alternatives(0)
    return whole !== undefined && this.#at === this.#text.length ? whole : undefined
  }

  #peek(): string {
    return this.#text[this.#at] ?? ''
  }

  #take(expected: string): boolean {
    if (!this.#text.startsWith(expected, this.#at)) return false
    this.#at += expected.length
    return true
  }

  #state(test: Test | null = null, edge: State['edge'] = null): State {
    this.#numStates += 1
    return { test, edge, next: [] }
  }

  #alternatives(depth: number): Fragment | undefined {
    if (depth > 32) return undefined
    const start = this.#state()
    const end = this.#state()
    do {
      const branch = this.#sequence(depth)
      if (branch === undefined) return undefined
      start.next.push(branch.start)
      branch.end.next.push(end)
    } while (this.#take('|'))
    return { start, end }
  }

  #sequence(depth: number): Fragment | undefined {
    const start = this.#state()
    let end = start
    while (this.#peek() !== '' && this.#peek() !== '|' && this.#peek() !== ')') {
      const from = this.#at
      const piece = this.#atom(depth)
      const repeated = piece && this.#repeated(piece, from, depth)
      if (repeated === undefined || this.#numStates > MAX_STATES) return undefined
      end.next.push(repeated.start)
      end = repeated.end
    }
    return { start, end }
  }

  #atom(depth: number): Fragment | undefined {
    if (this.#take('(')) {
      if (this.#peek() === '?' && !this.#take('?:')) return undefined
      const inner = this.#alternatives(depth + 1)
      return inner !== undefined && this.#take(')') ? inner : undefined
    }
    if (this.#take('^')) return this.#single(null, 'start')
    if (this.#take('$')) return this.#single(null, 'end')
    if (this.#take('.')) return this.#single((c) => c !== '\n')
    const test = this.#take('[') ? this.#set() : this.#character()
    return test && this.#single(test)
  }

  #single(test: Test | null, edge: State['edge'] = null): Fragment {
    const start = this.#state(test, edge)
    const end = this.#state()
    start.next.push(end)
    return { start, end }
  }

  /** One character, or a class of them. */
  #character(): Test | undefined {
    const isEscaped = this.#take('\\')
    const character = this.#peek()
    if (character === '' || (!isEscaped && SPECIAL.has(character))) return undefined
    this.#at += 1
    if (!isEscaped) return (c) => c === character
    const known = CLASSES[character.toLowerCase()]
    if (known !== undefined) return character in CLASSES ? known : (c) => !known(c)
    return /^[A-Za-z0-9]$/.test(character) ? undefined : (c) => c === character
  }

  #set(): Test | undefined {
    const isNegated = this.#take('^')
    const tests: Test[] = []
    while (!this.#take(']')) {
      const first = this.#peek()
      if (first === '' || first === '[') return undefined
      if (first !== '\\') {
        this.#at += 1
        if (this.#peek() === '-' && this.#text[this.#at + 1] !== ']') {
          const last = this.#text[this.#at + 1] ?? ''
          if (last < first || last === '\\') return undefined
          this.#at += 2
          tests.push((c) => c >= first && c <= last)
        } else tests.push((c) => c === first)
        continue
      }
      const test = this.#character()
      if (test === undefined) return undefined
      tests.push(test)
    }
    if (tests.length === 0) return undefined
    return (c) => tests.some((test) => test(c)) !== isNegated
  }

  #repeated(piece: Fragment, from: number, depth: number): Fragment | undefined {
    const bounds = this.#bounds()
    if (bounds === undefined) return undefined
    if (bounds === null) return piece
    if (piece.start.edge !== null) return undefined
    if ('?+*{'.includes(this.#peek()) && this.#peek() !== '') return undefined
    const [least, most] = bounds
    const behind = this.#at
    const again = (): Fragment | undefined => {
      this.#at = from
      const copy = this.#atom(depth)
      this.#at = behind
      return copy
    }
    const start = this.#state()
    let end = start
    for (let count = 0; count < Math.max(least, most ?? least + 1); count++) {
      if (this.#numStates > MAX_STATES) return undefined
      const copy = count === 0 ? piece : again()
      if (copy === undefined) return undefined
      const exit = this.#state()
      end.next.push(copy.start)
      copy.end.next.push(exit)
      if (count >= least) end.next.push(exit)
      // Without an upper bound the last copy may be gone through again.
      if (most === null && count === least) copy.end.next.push(copy.start)
      end = exit
    }
    return { start, end }
  }

  /** `null` = once. */
  #bounds(): [least: number, most: number | null] | null | undefined {
    if (this.#take('*')) return [0, null]
    if (this.#take('+')) return [1, null]
    if (this.#take('?')) return [0, 1]
    if (this.#peek() !== '{') return null
    const found = /^\{(\d{1,3})(,(\d{0,3}))?\}/.exec(this.#text.slice(this.#at, this.#at + 16))
    if (found === null) return undefined
    this.#at += found[0].length
    const least = Number(found[1])
    if (found[2] === undefined) return least <= MAX_REPEATS ? [least, least] : undefined
    const most = found[3] === '' ? null : Number(found[3])
    const isRight = Math.max(least, most ?? 0) <= MAX_REPEATS && (most ?? least) >= least
    return isRight ? [least, most] : undefined
  }
}

/** Whether some beginning of the name is of the pattern. */
function matchesStart({ start, end }: Fragment, name: string): boolean {
  let states = closure([start], name, 0)
  for (let at = 0; ; at++) {
    if (states.has(end)) return true
    const character = name[at]
    if (character === undefined || states.size === 0) return false
    const reached: State[] = []
    for (const { test, next } of states) if (test?.(character)) reached.push(...next)
    states = closure(reached, name, at + 1)
  }
}

/** States that are reached without a character. */
function closure(from: readonly State[], name: string, at: number): Set<State> {
  const states = new Set<State>()
  const open = [...from]
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (states.has(state)) continue
    states.add(state)
    const isHere = state.edge === null || (state.edge === 'start' ? at === 0 : at === name.length)
    if (state.test === null && isHere) open.push(...state.next)
  }
  return states
}
