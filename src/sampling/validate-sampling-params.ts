/**
 * The one place where sampling parameters are checked; what it returns is frozen and valid everywhere below.
 *
 * Does not know the vocabulary or the context (the engine checks token ids and lengths) nor any dialect's words: errors
 * name the parameter as `SamplingParams` does.
 */

import { samplingError } from './errors.ts'
import {
  DEFAULT_SAMPLING_PARAMS,
  MAX_TOP_LOGPROBS,
  type SamplingParams,
} from './sampling-params.ts'

export const MAX_LOGIT_BIAS_ENTRIES = 1024
export const MAX_STOP_TOKEN_IDS = 1024

const MAX_SEED = 2n ** 64n - 1n
/** What the native sampler can hold for a count. */
const MAX_COUNT = 2 ** 31 - 1

/** `undefined` means the default of `DEFAULT_SAMPLING_PARAMS`. */
export type PartialSamplingParams = {
  readonly [K in keyof SamplingParams]?: SamplingParams[K] | undefined
} & Pick<SamplingParams, 'seed' | 'maxTokens'>

type NumberName = {
  [K in keyof SamplingParams]: SamplingParams[K] extends number | null ? K : never
}[keyof SamplingParams]

interface Range {
  readonly expected: string
  readonly isInside: (value: number) => boolean
}

const isCount = (value: number, least: number, most: number) =>
  Number.isInteger(value) && value >= least && value <= most

const logprobs: Range = {
  expected: `a whole number from 0 to ${MAX_TOP_LOGPROBS}, or null`,
  isInside: (value) => isCount(value, 0, MAX_TOP_LOGPROBS),
}
const penalty: Range = {
  expected: 'a number from -2 to 2',
  isInside: (value) => value >= -2 && value <= 2,
}

const RANGES: Readonly<Record<NumberName, Range>> = {
  temperature: { expected: 'a number from 0 to 2', isInside: (value) => value >= 0 && value <= 2 },
  topP: { expected: 'a number above 0, up to 1', isInside: (value) => value > 0 && value <= 1 },
  topK: {
    expected: 'a whole number from 0 (off)',
    isInside: (value) => isCount(value, 0, MAX_COUNT),
  },
  minP: { expected: 'a number from 0 to 1', isInside: (value) => value >= 0 && value <= 1 },
  presencePenalty: penalty,
  frequencyPenalty: penalty,
  repetitionPenalty: {
    expected: 'a number from 0.01 to 100',
    isInside: (value) => value >= 0.01 && value <= 100,
  },
  maxTokens: {
    expected: 'a whole number from 1',
    isInside: (value) => isCount(value, 1, MAX_COUNT),
  },
  minTokens: {
    expected: 'a whole number from 0, up to maxTokens',
    isInside: (value) => isCount(value, 0, MAX_COUNT),
  },
  topLogprobs: logprobs,
  promptLogprobs: logprobs,
}

/**
 * Fill in defaults, check every range, freeze.
 *
 * @throws SAMPLING_OUT_OF_RANGE, SAMPLING_TOO_MANY_ENTRIES, SAMPLING_UNKNOWN_PARAMETER, naming the first offender
 */
export function makeSamplingParams(partial: PartialSamplingParams): SamplingParams {
  const params = { ...DEFAULT_SAMPLING_PARAMS, ...withoutUndefined(partial) } as SamplingParams
  for (const name of Object.keys(params)) {
    if (!Object.hasOwn(DEFAULT_SAMPLING_PARAMS, name) && name !== 'seed' && name !== 'maxTokens') {
      throw samplingError('SAMPLING_UNKNOWN_PARAMETER', { param: name, details: { param: name } })
    }
  }
  for (const name of Object.keys(RANGES) as NumberName[]) checkNumber(name, params[name])
  if (params.minTokens > params.maxTokens)
    throw outOfRange('minTokens', RANGES.minTokens.expected, params.minTokens)
  if (typeof params.seed !== 'bigint' || params.seed < 0n || params.seed > MAX_SEED) {
    throw outOfRange('seed', 'a whole number of 64 bits from 0', params.seed)
  }
  if (typeof params.ignoreEos !== 'boolean')
    throw outOfRange('ignoreEos', 'true or false', params.ignoreEos)
  return Object.freeze({
    ...params,
    stopTokenIds: checkStopTokenIds(params.stopTokenIds),
    logitBias: checkLogitBias(params.logitBias),
  })
}

function withoutUndefined(partial: PartialSamplingParams): object {
  return Object.fromEntries(Object.entries(partial).filter(([, value]) => value !== undefined))
}

function checkNumber(name: NumberName, value: number | null): void {
  if (value === null && DEFAULT_SAMPLING_PARAMS[name as 'topLogprobs'] === null) return
  const { expected, isInside } = RANGES[name]
  if (typeof value !== 'number' || !isInside(value)) throw outOfRange(name, expected, value)
}

function checkStopTokenIds(tokenIds: readonly number[]): readonly number[] {
  checkEntries('stopTokenIds', tokenIds, MAX_STOP_TOKEN_IDS)
  for (const tokenId of tokenIds) checkTokenId('stopTokenIds', tokenId)
  return Object.freeze([...tokenIds])
}

function checkLogitBias(entries: SamplingParams['logitBias']): SamplingParams['logitBias'] {
  checkEntries('logitBias', entries, MAX_LOGIT_BIAS_ENTRIES)
  return Object.freeze(
    entries.map(([tokenId, bias]) => {
      checkTokenId('logitBias', tokenId)
      if (typeof bias !== 'number' || !(bias >= -100 && bias <= 100)) {
        throw outOfRange('logitBias', 'biases from -100 to 100', bias)
      }
      return Object.freeze([tokenId, bias] as const)
    }),
  )
}

function checkEntries(param: string, entries: readonly unknown[], maxEntries: number): void {
  if (!Array.isArray(entries)) throw outOfRange(param, 'a list', entries)
  if (entries.length <= maxEntries) return
  throw samplingError('SAMPLING_TOO_MANY_ENTRIES', {
    param,
    details: { param, maxEntries, numEntries: entries.length },
  })
}

function checkTokenId(param: string, tokenId: number): void {
  if (!isCount(tokenId, 0, MAX_COUNT)) throw outOfRange(param, 'token ids from 0', tokenId)
}

function outOfRange(param: string, expected: string, got: unknown) {
  return samplingError('SAMPLING_OUT_OF_RANGE', {
    param,
    details: { param, expected, got: String(got) },
  })
}
