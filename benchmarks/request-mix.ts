/**
 * What clients ask and when, from one seed: a mix of lengths like that of ShareGPT's conversations (log-normal: prompts
 * around 60 tokens with a tail to 900; answers around 90 with a tail to 400) at Poisson times.
 * Two systems get the same requests at the same times. Pure.
 */

import { seededRandom } from './statistics.ts'

export interface PlannedRequest {
  /** From the start of the load. */
  readonly dueMs: number
  readonly prompt: string
  readonly outputTokens: number
}

/** Common words, one token each in the vocabularies of today's models. */
const WORDS =
  'the of and to in a is that for it as was with be by on not he his but at are this have from or had an'.split(
    ' ',
  )

/** @param rate - requests a second, as an average */
export function planLoad(rate: number, numRequests: number, seed: number): PlannedRequest[] {
  const random = seededRandom(seed)
  let dueMs = 0
  return Array.from({ length: numRequests }, () => {
    dueMs += (-Math.log(1 - random()) / rate) * 1000
    const numWords = logNormal(random, { median: 60, sigma: 0.9, min: 8, max: 900 })
    const outputTokens = logNormal(random, { median: 90, sigma: 0.7, min: 4, max: 400 })
    const words = Array.from(
      { length: numWords },
      () => WORDS[Math.floor(random() * WORDS.length)] as string,
    )
    return { dueMs, prompt: words.join(' '), outputTokens }
  })
}

interface LogNormal {
  readonly median: number
  readonly sigma: number
  readonly min: number
  readonly max: number
}

function logNormal(random: () => number, { median, sigma, min, max }: LogNormal): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.round(Math.min(max, Math.max(min, median * Math.exp(sigma * normal))))
}
