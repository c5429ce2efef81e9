/**
 * One choice of a request: its tokens become text, its end is found. Owns the choice's detokenizer and its place in the
 * stop strings. Knows no replica and no reader.
 *
 * I1 the joined texts do not depend on how tokens were cut into updates.
 * I2 after the end nothing is given out any more.
 */

import type { SequenceId } from '../base/ids.ts'
import { IncrementalDetokenizer } from '../text/incremental-detokenizer.ts'
import { StopMatcher, type StopStrings } from '../text/stop-matcher.ts'
import type { Tokenizer } from '../text/tokenizer.ts'
import type { SequenceUpdate } from '../worker/messages.ts'
import type { FinishReason, GenerationEvent } from './generation.ts'
import { tokenLogprob } from './token-logprob.ts'

export interface ChoiceOptions {
  readonly id: SequenceId
  /** Index within the request. */
  readonly choice: number
  readonly tokenizer: Tokenizer
  readonly stops: StopStrings
  /** Stop strings are not looked for in the text of this many first tokens, as in vLLM. */
  readonly minTokens: number
}

export class ChoiceStream {
  readonly id: SequenceId
  readonly choice: number
  readonly #tokenizer: Tokenizer
  readonly #detokenizer: IncrementalDetokenizer
  readonly #matcher: StopMatcher
  readonly #minTokens: number
  #numTokens = 0
  #stopString: string | null = null
  #isFinished = false

  constructor(options: ChoiceOptions) {
    const { tokenizer } = options
    this.id = options.id
    this.choice = options.choice
    this.#tokenizer = tokenizer
    this.#detokenizer = new IncrementalDetokenizer(tokenizer)
    this.#matcher = new StopMatcher(options.stops)
    this.#minTokens = options.minTokens
  }

  /** Tokens given out, the stop token included. */
  get numTokens(): number {
    return this.#numTokens
  }

  /** `finished` was given out. */
  get isFinished(): boolean {
    return this.#isFinished
  }

  /** A stop string ended it here, before the engine could know. */
  get stoppedByText(): boolean {
    return this.#stopString !== null
  }

  /** The events that an update means, in order. An update with `error` is not for this method. */
  accept(update: SequenceUpdate): GenerationEvent[] {
    if (this.#isFinished) return []
    const { tokenIds, logprobs, finish } = update
    let text = ''
    let numTaken = 0
    for (const tokenId of tokenIds) {
      numTaken += 1
      this.#numTokens += 1
      // A stop token ends the answer and is not part of its text, also where it is an ordinary word.
      const isStop = numTaken === tokenIds.length && tokenId === update.stopTokenId
      if (!isStop) text += this.#match(this.#detokenizer.push(tokenId))
      if (this.#stopString !== null) break
    }
    if (finish !== null && this.#stopString === null) {
      text += this.#match(this.#detokenizer.flush())
      if (this.#stopString === null) text += this.#matcher.flush()
    }
    const events: GenerationEvent[] = []
    if (numTaken > 0 || text !== '') {
      events.push({
        type: 'delta',
        choice: this.choice,
        text,
        tokenIds: tokenIds.slice(0, numTaken),
        logprobs:
          logprobs?.slice(0, numTaken).map((entry) => tokenLogprob(this.#tokenizer, entry)) ?? null,
      })
    }
    if (this.#stopString !== null) events.push(this.#finished('stop', null))
    else if (finish !== null) events.push(this.#finished(finish, update.stopTokenId))
    return events
  }

  #match(text: string): string {
    if (this.#numTokens <= this.#minTokens) return text
    const { emit, stopped } = this.#matcher.push(text)
    this.#stopString = stopped
    return emit
  }

  #finished(reason: FinishReason, stopTokenId: number | null): GenerationEvent {
    this.#isFinished = true
    return {
      type: 'finished',
      choice: this.choice,
      reason,
      stopString: this.#stopString,
      stopTokenId,
    }
  }
}
