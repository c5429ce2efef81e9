/**
 * Chat answers in OpenAI's shape: the whole body, and the chunks of a stream.
 *
 * Chunks of a stream come in OpenAI's order: one with the role for each choice, deltas as they happen (choices
 * interleave), one with the finish reason for each choice, and one with usage and no choices when it was asked for.
 * vLLM's `prompt_token_ids`, `token_ids` and `prompt_logprobs` stand where vLLM has them; `prompt_token_ids` also in
 * each choice, as completions have it. Owns the state of one answer.
 */

import type { TokenLogprob } from '../../../deployment/generation.ts'
import type { PromptEvent } from '../../event-merger.ts'
import type { StartedEvent } from '../../generation-run.ts'
import type { BodyTranslator, StreamTranslator } from '../../serving.ts'
import { Choices, wireFinishReason } from './choices.ts'
import { chatLogprobs, promptLogprobs } from './logprobs.ts'
import type { ProviderBody } from './provider-schema.ts'
import { providerOf, servedOf } from './served-answer.ts'
import type { TierAnswer } from './service-tiers.ts'
import { UsageSum } from './usage.ts'

export interface ChatAnswerOptions {
  readonly id: string
  /** Seconds since 1970. */
  readonly created: number
  readonly numChoices: number
  readonly hasLogprobs: boolean
  readonly returnsTokenIds: boolean
  readonly includesUsage: boolean
  readonly serviceTier: TierAnswer
  /** What the request said of who may serve it; `null` = nothing, and nothing is said back. */
  readonly provider: ProviderBody | null
}

function envelope(options: ChatAnswerOptions, started: StartedEvent, object: string): object {
  return {
    id: options.id,
    object,
    created: options.created,
    model: started.modelId,
    ...providerOf(options.provider, started),
    ...options.serviceTier,
    system_fingerprint: started.systemFingerprint,
  }
}

export function chatBody(options: ChatAnswerOptions, started: StartedEvent): BodyTranslator {
  const choices = new Choices(1, options.numChoices, options.hasLogprobs)
  return {
    take: (item) => choices.take(item),
    finish: () => {
      const prompt = choices.prompts[0]
      const entries = prompt?.promptLogprobs ?? null
      const promptTokenIds = options.returnsTokenIds
        ? { prompt_token_ids: [...started.promptTokenIds] }
        : {}
      return {
        ...envelope(options, started, 'chat.completion'),
        choices: prompt?.choices.map((choice, index) => ({
          index,
          message: { role: 'assistant', content: choice.text, refusal: null },
          logprobs: chatLogprobs(choice.logprobs),
          finish_reason: choice.finishReason,
          ...promptTokenIds,
          ...(options.returnsTokenIds ? { token_ids: choice.tokenIds } : {}),
        })),
        usage: choices.usage.body(),
        ...(entries === null ? {} : { prompt_logprobs: promptLogprobs(entries) }),
        ...promptTokenIds,
        ...servedOf(options.provider, started),
      }
    },
  }
}

export function chatStream(options: ChatAnswerOptions, started: StartedEvent): StreamTranslator {
  const base = envelope(options, started, 'chat.completion.chunk')
  const usage = new UsageSum()
  const noUsage = options.includesUsage ? { usage: null } : {}
  const chunk = (choice: object, extra: object = {}): object => ({
    ...base,
    choices: [choice],
    ...noUsage,
    ...extra,
  })
  return {
    open: () =>
      Array.from({ length: options.numChoices }, (_, index) => {
        const ids = options.returnsTokenIds ? { prompt_token_ids: [...started.promptTokenIds] } : {}
        const delta = { role: 'assistant', content: '', refusal: null }
        const extra = { ...ids, ...(index === 0 ? servedOf(options.provider, started) : {}) }
        return chunk({ index, delta, logprobs: null, finish_reason: null, ...ids }, extra)
      }),
    translate: ({ event }: PromptEvent) => {
      switch (event.type) {
        case 'delta': {
          const { choice: index, text, tokenIds } = event
          const logprobs = options.hasLogprobs ? event.logprobs : null
          if (!carriesAnything(text, logprobs, options.returnsTokenIds ? tokenIds : [])) return []
          const ids = options.returnsTokenIds ? { token_ids: tokenIds } : {}
          const delta = { content: text }
          return [
            chunk({ index, delta, logprobs: chatLogprobs(logprobs), finish_reason: null, ...ids }),
          ]
        }
        case 'finished': {
          const reason = wireFinishReason(event.reason)
          return [chunk({ index: event.choice, delta: {}, logprobs: null, finish_reason: reason })]
        }
        case 'done':
          usage.add(event.usage)
          return []
        default:
          return []
      }
    },
    close: () => (options.includesUsage ? [{ ...base, choices: [], usage: usage.body() }] : []),
  }
}

/** Text may be held back (a partial character, a possible stop string); a chunk with nothing in it helps nobody. */
export function carriesAnything(
  text: string,
  logprobs: readonly TokenLogprob[] | null,
  tokenIds: readonly number[],
): boolean {
  return text !== '' || tokenIds.length > 0 || (logprobs !== null && logprobs.length > 0)
}
