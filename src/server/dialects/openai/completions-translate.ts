/** From a valid completions body to canonical requests, one a prompt. Pure but for the seed that it draws. */

import type { RequestId } from '../../../base/ids.ts'
import type { ModelCard } from '../../../deployment/deployments.ts'
import type { GenerationInput, GenerationRequest } from '../../../deployment/generation.ts'
import { conflict, invalidValue, unsupported } from '../../errors.ts'
import { type CompletionsBody, DEFAULT_MAX_TOKENS } from './completions-schema.ts'
import { completionsNeutralFields, refuseUnsupported } from './neutral-fields.ts'
import { translateSampling } from './sampling-translate.ts'

export interface CompletionsContext {
  readonly card: ModelCard
  readonly id: RequestId
  readonly principal: string
  readonly maxChoices: number
  readonly coldStartWaitMs: number | null
}

/** @throws ServingError naming the field */
export function translateCompletions(
  body: CompletionsBody,
  context: CompletionsContext,
): GenerationRequest[] {
  refuseUnsupported(body, completionsNeutralFields)
  const numChoices = body.n ?? 1
  if ((body.best_of ?? numChoices) !== numChoices) {
    throw unsupported('best_of', `the value of n, ${numChoices}`)
  }
  const inputs = inputsOf(body.prompt, context.card.vocabSize)
  checkNumChoices(inputs.length, numChoices, context.maxChoices)
  const maxTokens = body.max_tokens ?? DEFAULT_MAX_TOKENS
  const sampling = translateSampling(body, {
    // The engine generates at least one token; `completions-answer.ts` leaves it out when none was asked for.
    maxTokens: Math.max(maxTokens, 1),
    maxTokensParam: 'max_tokens',
    topLogprobs: body.logprobs ?? null,
    vocabSize: context.card.vocabSize,
  })
  const promptLogprobs = promptLogprobsOf(body)
  return inputs.map((input, index) => ({
    ...sampling,
    sampling: { ...sampling.sampling, promptLogprobs },
    id: inputs.length === 1 ? context.id : (`${context.id}-${index}` as RequestId),
    principal: context.principal,
    coldStartWaitMs: context.coldStartWaitMs,
    requestedModel: body.model,
    input,
  }))
}

/** `echo` with `logprobs` wants them of the prompt too. */
function promptLogprobsOf({ echo, logprobs, prompt_logprobs }: CompletionsBody): number | null {
  const asked = prompt_logprobs ?? null
  const echoed = echo === true ? (logprobs ?? null) : null
  if (asked === null || echoed === null) return asked ?? echoed
  return Math.max(asked, echoed)
}

function inputsOf(prompt: CompletionsBody['prompt'], vocabSize: number): GenerationInput[] {
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt }]
  if (typeof prompt[0] === 'number') {
    return [tokensInput(prompt as readonly number[], 'prompt', vocabSize)]
  }
  return (prompt as readonly (string | readonly number[])[]).map((one, index) =>
    typeof one === 'string'
      ? { kind: 'text', text: one }
      : tokensInput(one, `prompt[${index}]`, vocabSize),
  )
}

function tokensInput(tokenIds: readonly number[], at: string, vocabSize: number): GenerationInput {
  const index = tokenIds.findIndex((tokenId) => tokenId >= vocabSize)
  if (index >= 0) {
    throw invalidValue(`${at}[${index}]`, `a token id below ${vocabSize}`, String(tokenIds[index]))
  }
  return { kind: 'tokens', tokenIds }
}

function checkNumChoices(numPrompts: number, numChoices: number, maxChoices: number): void {
  const total = numPrompts * numChoices
  if (total <= maxChoices) return
  throw conflict(
    'n',
    `${numPrompts} prompts times n = ${numChoices} is above ${maxChoices} answers`,
  )
}
