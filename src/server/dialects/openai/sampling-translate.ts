/**
 * From the shared wire parameters to canonical ones, with the checks that no schema can make because they look at two
 * fields. Does not know routes; each names its own limit of tokens and its way to ask for logprobs.
 */

import { randomBytes } from 'node:crypto'
import type { GenerationRequest } from '../../../deployment/generation.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../../sampling/sampling-params.ts'
import { conflict, invalidValue, unsupported } from '../../errors.ts'
import { describe } from '../../validation-error.ts'
import { translateProvider } from './provider-translate.ts'
import type { SamplingBody } from './sampling-schema.ts'
import { servedTier } from './service-tiers.ts'

export type CanonicalSampling = Pick<
  GenerationRequest,
  | 'sampling'
  | 'seed'
  | 'maxTokens'
  | 'numChoices'
  | 'stop'
  | 'cacheSalt'
  | 'cacheKey'
  | 'serviceTier'
  | 'maxQueueMs'
  | 'routing'
>

export interface RouteSampling {
  /** The answer's limit and the field that set it. */
  readonly maxTokens: number | null
  readonly maxTokensParam: string
  readonly topLogprobs: number | null
  /** Of the model: ids in `logit_bias` must be below. */
  readonly vocabSize: number
}

/** top_p = 0 keeps only the most likely token, as any value below its probability does; inside, 0 is not allowed. */
const LEAST_TOP_P = 1e-6

/** @throws ServingError naming the field */
export function translateSampling(body: SamplingBody, route: RouteSampling): CanonicalSampling {
  checkStreamOptions(body)
  const minTokens = body.min_tokens ?? 0
  if (route.maxTokens !== null && minTokens > route.maxTokens) {
    throw conflict(
      'min_tokens',
      `it is ${minTokens}, above ${route.maxTokensParam} = ${route.maxTokens}`,
    )
  }
  const defaults = DEFAULT_SAMPLING_PARAMS
  return {
    seed: seedOf(body.seed ?? null),
    maxTokens: route.maxTokens,
    numChoices: body.n ?? 1,
    stop: stopOf(body.stop ?? []),
    cacheSalt: body.cache_salt ?? null,
    cacheKey: body.prompt_cache_key ?? null,
    serviceTier: servedTier(body.service_tier ?? 'auto'),
    maxQueueMs: body.max_queue_ms ?? null,
    routing: translateProvider(body.provider ?? null),
    sampling: {
      ...defaults,
      temperature: body.temperature ?? defaults.temperature,
      topP: Math.max(body.top_p ?? defaults.topP, LEAST_TOP_P),
      topK: Math.max(body.top_k ?? defaults.topK, 0),
      minP: body.min_p ?? defaults.minP,
      presencePenalty: body.presence_penalty ?? defaults.presencePenalty,
      frequencyPenalty: body.frequency_penalty ?? defaults.frequencyPenalty,
      repetitionPenalty: body.repetition_penalty ?? defaults.repetitionPenalty,
      minTokens,
      ignoreEos: body.ignore_eos ?? false,
      logitBias: logitBiasOf(body.logit_bias ?? {}, route.vocabSize),
      topLogprobs: route.topLogprobs,
      promptLogprobs: body.prompt_logprobs ?? null,
    },
  }
}

function checkStreamOptions({ stream, stream_options, prompt_logprobs }: SamplingBody): void {
  const options = stream_options ?? null
  if (options !== null && stream !== true) {
    throw conflict('stream_options', 'it is allowed only when stream is true')
  }
  if (options?.include_obfuscation === true) {
    throw unsupported('stream_options.include_obfuscation', 'false')
  }
  if (stream === true && (prompt_logprobs ?? null) !== null) {
    throw conflict('prompt_logprobs', 'it is not available when stream is true')
  }
}

const LEAST_SEED = -(2n ** 63n)
const MAX_SEED = 2n ** 64n - 1n

/** Unsigned 64 bits; a negative seed is the one with the same bits, so that no two seeds of OpenAI's range are one. */
function seedOf(seed: number | string | null): bigint {
  if (seed === null) return drawSeed()
  const isReadable =
    typeof seed === 'number' ? Number.isSafeInteger(seed) : /^-?\d{1,20}$/.test(seed)
  const value = isReadable ? BigInt(seed) : null
  if (value === null || value < LEAST_SEED || value > MAX_SEED) {
    const expected =
      'an integer from -2^63 to 2^64-1, written as a string of digits when it is beyond 2^53'
    throw invalidValue('seed', expected, describe(seed))
  }
  return BigInt.asUintN(64, value)
}

/** Below 2^53, so that a caller who reads it in a record can send it back as a JSON number. */
function drawSeed(): bigint {
  return randomBytes(8).readBigUInt64LE() >> 11n
}

function stopOf(stop: string | readonly string[]): readonly string[] {
  return typeof stop === 'string' ? [stop] : stop
}

function logitBiasOf(
  biases: Readonly<Record<string, number>>,
  vocabSize: number,
): (readonly [number, number])[] {
  return Object.entries(biases).map(([key, bias]) => {
    const tokenId = Number(key)
    if (tokenId >= vocabSize) {
      throw invalidValue('logit_bias', `token ids below ${vocabSize}`, String(tokenId))
    }
    return [tokenId, bias] as const
  })
}
