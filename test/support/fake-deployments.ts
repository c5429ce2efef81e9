/**
 * A model without weights for API tests: answers are a function of seed, choice and position, so every test can say
 * what must come. Implements the port's promises (I1–I3 of `deployments.ts`); what a test wants otherwise it scripts.
 *
 * Tokens are numbered words: id 7 is ` w7`. A text's tokens are its words, unknown ones by a hash.
 */

import type { Deployments, HealthReport, ModelCard } from '../../src/deployment/deployments.ts'
import type { ServedBy } from '../../src/deployment/endpoints/routing.ts'
import type {
  FinishReason,
  GenerationEvent,
  GenerationRequest,
  TokenLogprob,
} from '../../src/deployment/generation.ts'

export const FAKE_CARD: ModelCard = {
  id: 'fake-model',
  aliases: ['fake', 'org/fake'],
  created: 1_700_000_000,
  ownedBy: 'tests',
  digest: `sha256:${'ab'.repeat(32)}`,
  quantization: 'Q4_1',
  servingConfigDigest: `sha256:${'cd'.repeat(32)}`,
  maxContextTokens: 1024,
  vocabSize: 1000,
  hasChatTemplate: true,
}

/** Tokens after which a choice of the fake ends by itself. */
export const NATURAL_LENGTH = 8

export interface FakeScript {
  /** Thrown before the first event, but for `waiting`. */
  refusal?: Error
  /** The model is being loaded: told, and then awaited. */
  loading?: () => Promise<void>
  /** Thrown after this many tokens of choice 0. */
  failure?: { readonly afterTokens: number; readonly error: Error }
  /** Awaited before each step; a step gives one token to every choice. */
  pace?: (step: number) => Promise<void>
  /** Tokens after which a choice ends; default `NATURAL_LENGTH`. */
  naturalLength?: number
  /** Text of an answer's token instead of ` w<id>`; for characters that span tokens. */
  pieces?: readonly string[]
  finish?: FinishReason
  cachedPromptTokens?: number
  /** Guesses that were right, and wrong. */
  drafts?: { readonly accepted: number; readonly rejected: number }
  served?: ServedBy
}

export class FakeDeployments implements Deployments {
  readonly script: FakeScript
  readonly requests: GenerationRequest[] = []
  /** Requests whose events are being made. */
  numRunning = 0
  numCancelled = 0
  report: HealthReport = { status: 'ok', replicas: [] }

  constructor(script: FakeScript = {}) {
    this.script = script
  }

  list(): readonly ModelCard[] {
    return [FAKE_CARD]
  }

  find(name: string): ModelCard | undefined {
    return name === FAKE_CARD.id || FAKE_CARD.aliases.includes(name) ? FAKE_CARD : undefined
  }

  tokenText(_modelId: string, tokenId: number): string {
    return ` w${tokenId}`
  }

  decode(modelId: string, tokenIds: readonly number[]): string {
    return tokenIds.map((tokenId) => this.tokenText(modelId, tokenId)).join('')
  }

  health(): HealthReport {
    return this.report
  }

  async *generate(
    request: GenerationRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerationEvent> {
    this.requests.push(request)
    if (this.script.loading !== undefined) {
      yield { type: 'waiting', reason: 'it is being loaded' }
      await this.script.loading()
      if (signal.aborted) throw signal.reason
    }
    if (this.script.refusal !== undefined) throw this.script.refusal
    this.numRunning += 1
    const onAbort = (): void => {
      this.numCancelled += 1
    }
    signal.addEventListener('abort', onAbort)
    try {
      yield* this.#events(request, signal)
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.numRunning -= 1
    }
  }

  async *#events(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent> {
    const promptIds = fakePromptIds(request)
    yield {
      type: 'started',
      modelId: FAKE_CARD.id,
      systemFingerprint: 'fp_fake',
      promptTokenIds: Int32Array.from(promptIds),
      promptText: request.input.kind === 'text' ? request.input.text : null,
      ...(this.script.served === undefined ? {} : { served: this.script.served }),
    }
    if (request.sampling.promptLogprobs !== null) {
      const count = request.sampling.promptLogprobs
      const entries = promptIds.map((id, at) => (at === 0 ? null : this.#logprob(id, at, count)))
      yield { type: 'prompt-logprobs', entries }
    }
    const { naturalLength = NATURAL_LENGTH, failure, pace, finish } = this.script
    const length = Math.min(request.maxTokens ?? naturalLength, naturalLength)
    const plans = Array.from({ length: request.numChoices }, (_, choice) =>
      this.#plan(request, choice, length),
    )
    const steps = Math.max(...plans.map(({ texts }) => texts.length))
    let completionTokens = 0
    for (let step = 0; step < steps; step += 1) {
      await pace?.(step)
      if (signal.aborted) throw signal.reason
      if (failure?.afterTokens === step) throw failure.error
      for (const [choice, { texts }] of plans.entries()) {
        const text = texts[step]
        if (text === undefined) continue
        completionTokens += 1
        const id = fakeTokenId(request, choice, step)
        const count = request.sampling.topLogprobs
        const logprobs = count === null ? null : [this.#logprob(id, step, count)]
        yield { type: 'delta', choice, text, tokenIds: [id], logprobs }
      }
    }
    for (const [choice, { stopString }] of plans.entries()) {
      const isStopped = stopString !== null || length >= naturalLength
      const reason = finish ?? (isStopped ? 'stop' : 'length')
      yield { type: 'finished', choice, reason, stopString, stopTokenId: null }
    }
    yield {
      type: 'done',
      usage: {
        promptTokens: promptIds.length,
        cachedPromptTokens: this.script.cachedPromptTokens ?? 0,
        completionTokens,
        acceptedDraftTokens: this.script.drafts?.accepted ?? 0,
        rejectedDraftTokens: this.script.drafts?.rejected ?? 0,
      },
      timing: { queueMs: 1, prefillMs: 2, decodeMs: 3, totalMs: 6 },
      seed: request.seed ?? 0n,
    }
  }

  /** Text of each token of a choice, up to the first stop string. */
  #plan(request: GenerationRequest, choice: number, length: number) {
    const texts = Array.from(
      { length },
      (_, step) =>
        this.script.pieces?.[step] ?? this.tokenText('', fakeTokenId(request, choice, step)),
    )
    const whole = texts.join('')
    const matches = request.stop
      .map((stopString) => ({ stopString, at: whole.indexOf(stopString) }))
      .filter(({ at }) => at >= 0)
      .sort((first, second) => first.at - second.at)
    const match = matches[0]
    if (match === undefined) return { texts, stopString: null }
    const cut: string[] = []
    let numCharacters = 0
    for (const text of texts) {
      // The token that completes the match is drawn too; its text before the match is kept.
      if (numCharacters >= match.at + match.stopString.length) break
      cut.push(text.slice(0, Math.max(0, match.at - numCharacters)))
      numCharacters += text.length
    }
    return { texts: cut, stopString: match.stopString }
  }

  #logprob(tokenId: number, position: number, count: number): TokenLogprob {
    const one = (id: number, logprob: number) => {
      const text = this.tokenText('', id)
      return { tokenId: id, text, bytes: Buffer.from(text), logprob }
    }
    const top = Array.from({ length: count }, (_, rank) =>
      one((tokenId + rank) % 1000, -0.5 - rank),
    )
    const logprob = position === 1 ? Number.NEGATIVE_INFINITY : -0.5
    return { ...one(tokenId, logprob), rank: 1, top }
  }
}

export function fakePromptIds({ input }: GenerationRequest): number[] {
  if (input.kind === 'tokens') return [...input.tokenIds]
  const text =
    input.kind === 'text' ? input.text : input.messages.map(({ content }) => content).join(' ')
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map(wordId)
}

export function fakeTokenId(request: GenerationRequest, choice: number, step: number): number {
  return (Number((request.seed ?? 0n) % 1000n) + choice * 31 + step * 7) % 1000
}

/** Text that the fake answers. */
export function fakeText(seed: number, choice: number, length: number = NATURAL_LENGTH): string {
  return Array.from(
    { length },
    (_, step) => ` w${((seed % 1000) + choice * 31 + step * 7) % 1000}`,
  ).join('')
}

function wordId(word: string): number {
  const known = /^w(\d{1,3})$/.exec(word)
  if (known !== null) return Number(known[1])
  let hash = 7
  for (const character of word) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 1000
  return hash
}
