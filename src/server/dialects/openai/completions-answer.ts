/**
 * Plain completions in OpenAI's old shape: the whole body, and the chunks of a stream.
 *
 * Choices of all prompts are numbered through: `prompt * n + choice`. With `echo` a choice begins with its prompt, with
 * `logprobs` also that part's. `max_tokens` 0 shows no answer: the one token that the engine must draw is left out of
 * text, logprobs, ids and usage. Owns the state of one answer.
 */

import type { TokenLogprob } from '../../../deployment/generation.ts'
import type { PromptEvent } from '../../event-merger.ts'
import type { StartedEvent } from '../../generation-run.ts'
import type { BodyTranslator, StreamTranslator } from '../../serving.ts'
import { carriesAnything } from './chat-answer.ts'
import { type Choice, Choices, type PromptChoices, wireFinishReason } from './choices.ts'
import {
  CompletionLogprobs,
  type CompletionLogprobsBody,
  type FirstToken,
  promptLogprobs,
  withTop,
} from './logprobs.ts'
import type { ProviderBody } from './provider-schema.ts'
import { providerOf, servedOf } from './served-answer.ts'
import type { TierAnswer } from './service-tiers.ts'
import { UsageSum } from './usage.ts'

/** What the answer begins with when `echo` is asked for; one a prompt. */
export interface EchoedPrompt {
  readonly text: string
  /** Text of the prompt's first token. */
  readonly firstToken: string
}

export interface CompletionsAnswerOptions {
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly numChoices: number
  /** Alternatives per token; `null` = no logprobs. */
  readonly logprobs: number | null
  readonly promptLogprobs: number | null
  readonly returnsTokenIds: boolean
  readonly includesUsage: boolean
  /** False when `max_tokens` is 0. */
  readonly hasAnswer: boolean
  readonly serviceTier: TierAnswer
  /** What the request said of who may serve it; `null` = nothing, and nothing is said back. */
  readonly provider: ProviderBody | null
  /** `null` without `echo`. */
  readonly echo: readonly EchoedPrompt[] | null
}

type PromptEntries = readonly (TokenLogprob | null)[]

export function completionsBody(
  options: CompletionsAnswerOptions,
  started: readonly StartedEvent[],
): BodyTranslator {
  const choices = new Choices(started.length, options.numChoices, options.logprobs !== null)
  const choiceBody = (
    prompt: number,
    choice: Choice,
    index: number,
    all: PromptChoices,
  ): object => {
    const { text, tokenIds, logprobs } = options.hasAnswer ? choice : NO_ANSWER
    const echoed = options.echo?.[prompt]
    return {
      index: prompt * options.numChoices + index,
      text: (echoed?.text ?? '') + text,
      logprobs: wholeLogprobs(options, echoed, all.promptLogprobs, logprobs),
      finish_reason: finishReason(options, choice.finishReason),
      ...(options.returnsTokenIds
        ? { prompt_token_ids: [...(started[prompt]?.promptTokenIds ?? [])], token_ids: tokenIds }
        : {}),
      ...(options.promptLogprobs === null
        ? {}
        : { prompt_logprobs: promptLogprobs(limited(all.promptLogprobs, options.promptLogprobs)) }),
    }
  }
  return {
    take: (item) => choices.take(item),
    finish: () => ({
      ...envelope(options, started),
      choices: choices.prompts.flatMap((all, prompt) =>
        all.choices.map((choice, index) => choiceBody(prompt, choice, index, all)),
      ),
      usage: choices.usage.body(options.hasAnswer),
      ...servedOf(options.provider, started[0]),
    }),
  }
}

export function completionsStream(
  options: CompletionsAnswerOptions,
  started: readonly StartedEvent[],
): StreamTranslator {
  return new CompletionsStream(options, started)
}

class CompletionsStream implements StreamTranslator {
  readonly #options: CompletionsAnswerOptions
  readonly #started: readonly StartedEvent[]
  readonly #base: object
  readonly #usage = new UsageSum()
  /** By the choice's index; made with its first chunk. */
  readonly #logprobs: (CompletionLogprobs | undefined)[] = []
  readonly #hasSentPromptIds = new Set<number>()
  readonly #hasEchoed = new Set<number>()
  #hasToldServed = false

  constructor(options: CompletionsAnswerOptions, started: readonly StartedEvent[]) {
    this.#options = options
    this.#started = started
    this.#base = envelope(options, started)
  }

  open(): readonly object[] {
    // With logprobs the echo waits for those of the prompt.
    if (this.#options.logprobs !== null) return []
    return this.#started.flatMap((_, prompt) => this.#echo(prompt, null))
  }

  translate({ prompt, event }: PromptEvent): readonly object[] {
    switch (event.type) {
      case 'prompt-logprobs':
        return this.#echo(prompt, event.entries)
      case 'delta': {
        if (!this.#options.hasAnswer) return []
        const { text, tokenIds } = event
        const entries = this.#options.logprobs === null ? null : event.logprobs
        const shownIds = this.#options.returnsTokenIds ? tokenIds : []
        if (!carriesAnything(text, entries, shownIds)) return []
        const index = this.#index(prompt, event.choice)
        const logprobs = entries === null ? null : this.#next(index, entries)
        const chunk = this.#chunk(prompt, index, { text, logprobs, finish_reason: null }, tokenIds)
        return [...this.#echo(prompt, null), chunk]
      }
      case 'finished': {
        const index = this.#index(prompt, event.choice)
        const reason = finishReason(this.#options, wireFinishReason(event.reason))
        const last = { text: '', logprobs: null, finish_reason: reason }
        return [...this.#echo(prompt, null), this.#chunk(prompt, index, last, [])]
      }
      case 'done':
        this.#usage.add(event.usage)
        return []
      default:
        return []
    }
  }

  close(): readonly object[] {
    if (!this.#options.includesUsage) return []
    return [{ ...this.#base, choices: [], usage: this.#usage.body(this.#options.hasAnswer) }]
  }

  /** The prompt as the first chunk of each of its choices, once. */
  #echo(prompt: number, entries: PromptEntries | null): object[] {
    const echoed = this.#options.echo?.[prompt]
    if (echoed === undefined || this.#hasEchoed.has(prompt)) return []
    this.#hasEchoed.add(prompt)
    const { logprobs: count, numChoices } = this.#options
    return Array.from({ length: numChoices }, (_, choice) => {
      const index = this.#index(prompt, choice)
      const logprobs =
        count === null ? null : this.#next(index, echoEntries(echoed, entries, count))
      const first = { text: echoed.text, logprobs, finish_reason: null }
      return this.#chunk(prompt, index, first, [])
    })
  }

  #index(prompt: number, choice: number): number {
    return prompt * this.#options.numChoices + choice
  }

  #next(index: number, entries: readonly (TokenLogprob | FirstToken)[]): CompletionLogprobsBody {
    const logprobs = this.#logprobs[index] ?? new CompletionLogprobs()
    this.#logprobs[index] = logprobs
    return logprobs.next(entries)
  }

  #chunk(prompt: number, index: number, choice: object, tokenIds: readonly number[]): object {
    const ids = this.#options.returnsTokenIds ? this.#tokenIds(prompt, index, tokenIds) : {}
    const usage = this.#options.includesUsage ? { usage: null } : {}
    const served = this.#hasToldServed ? {} : servedOf(this.#options.provider, this.#started[0])
    this.#hasToldServed = true
    return { ...this.#base, choices: [{ index, ...choice, ...ids }], ...usage, ...served }
  }

  /** vLLM sends the prompt's ids with a choice's first chunk. */
  #tokenIds(prompt: number, index: number, tokenIds: readonly number[]): object {
    if (this.#hasSentPromptIds.has(index)) return { token_ids: tokenIds }
    this.#hasSentPromptIds.add(index)
    const promptTokenIds = [...(this.#started[prompt]?.promptTokenIds ?? [])]
    return { prompt_token_ids: promptTokenIds, token_ids: tokenIds }
  }
}

const NO_ANSWER = { text: '', tokenIds: [], logprobs: [] } as const

function envelope(options: CompletionsAnswerOptions, started: readonly StartedEvent[]): object {
  return {
    id: options.id,
    object: 'text_completion',
    created: options.created,
    model: started[0]?.modelId,
    ...providerOf(options.provider, started[0]),
    ...options.serviceTier,
    system_fingerprint: started[0]?.systemFingerprint,
  }
}

function finishReason(options: CompletionsAnswerOptions, reason: string | null): string | null {
  return options.hasAnswer ? reason : 'length'
}

function wholeLogprobs(
  options: CompletionsAnswerOptions,
  echoed: EchoedPrompt | undefined,
  promptEntries: PromptEntries | null,
  answer: readonly TokenLogprob[] | null,
): CompletionLogprobsBody | null {
  const { logprobs: count } = options
  if (count === null) return null
  const prompt = echoed === undefined ? [] : echoEntries(echoed, promptEntries, count)
  return new CompletionLogprobs().next([...prompt, ...(answer ?? [])])
}

function echoEntries(
  { text, firstToken }: EchoedPrompt,
  entries: PromptEntries | null,
  count: number,
): (TokenLogprob | FirstToken)[] {
  const first = { firstToken, isInText: text.startsWith(firstToken) }
  return limited(entries, count).map((entry) => entry ?? first)
}

/** `null`: a prompt of one token, of which nothing is known. */
function limited(entries: PromptEntries | null, count: number): PromptEntries {
  return (entries ?? [null]).map((entry) => (entry === null ? null : withTop(entry, count)))
}
