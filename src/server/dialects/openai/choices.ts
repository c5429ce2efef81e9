/**
 * Collects the events of each choice until a whole answer can be written.
 *
 * Owns text, ids and logprobs of all choices of one request. Does not know wire shapes.
 *
 * I1 what is collected is the concatenation of the deltas, so a whole answer equals the streamed one.
 */

import type { TokenLogprob } from '../../../deployment/generation.ts'
import type { PromptEvent } from '../../event-merger.ts'
import { UsageSum } from './usage.ts'

export interface Choice {
  text: string
  readonly tokenIds: number[]
  /** `null` when they were not asked for. */
  readonly logprobs: TokenLogprob[] | null
  finishReason: 'stop' | 'length' | null
}

export interface PromptChoices {
  readonly choices: readonly Choice[]
  promptLogprobs: readonly (TokenLogprob | null)[] | null
}

export class Choices {
  readonly prompts: readonly PromptChoices[]
  readonly usage: UsageSum = new UsageSum()

  constructor(numPrompts: number, numChoices: number, hasLogprobs: boolean) {
    const choice = (): Choice => ({
      text: '',
      tokenIds: [],
      logprobs: hasLogprobs ? [] : null,
      finishReason: null,
    })
    this.prompts = Array.from({ length: numPrompts }, () => ({
      choices: Array.from({ length: numChoices }, choice),
      promptLogprobs: null,
    }))
  }

  take({ prompt, event }: PromptEvent): void {
    const entry = this.prompts[prompt]
    if (entry === undefined) return
    if (event.type === 'prompt-logprobs') entry.promptLogprobs = event.entries
    if (event.type === 'done') this.usage.add(event.usage)
    const choice = 'choice' in event ? entry.choices[event.choice] : undefined
    if (choice === undefined) return
    if (event.type === 'delta') {
      choice.text += event.text
      choice.tokenIds.push(...event.tokenIds)
      choice.logprobs?.push(...(event.logprobs ?? []))
    } else if (event.type === 'finished') {
      choice.finishReason = wireFinishReason(event.reason)
    }
  }
}

/** `cancelled` and `error` never get here: they end the run with an error. */
export function wireFinishReason(reason: string): 'stop' | 'length' {
  return reason === 'length' ? 'length' : 'stop'
}
