/**
 * Clients that ask for everything in turns: each stays with one name for some seconds, streamed or not, hangs up now and
 * then, and comes back after `Retry-After`. Draws from one seed; the machine's own timing is not repeated by it.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type SeededRandom, seededRandom } from '../seeded-random.ts'
import { type RequestResult, requestOnce } from './one-request.ts'

export interface TrafficOptions {
  readonly url: string
  readonly targets: readonly string[]
  readonly numClients: number
  readonly durationMs: number
  readonly seed: number
}

const PROMPTS = [
  'The river begins in the mountains and',
  'Once upon a time there was a small house at the edge of the forest. In it lived',
  'A list of three colours:',
  'The captain looked at the map for a long time. Then she said:',
]
/** Nobody comes back later than this, so that a short run sees many turns. */
const MOST_RETRY_MS = 2000

/** @returns every request that was made, in the order of their ends */
export async function runTraffic(options: TrafficOptions): Promise<readonly RequestResult[]> {
  const results: RequestResult[] = []
  const endMs = performance.now() + options.durationMs
  const clients = Array.from({ length: options.numClients }, (_, client) =>
    runClient(options, seededRandom(options.seed + client), endMs, results),
  )
  await Promise.all(clients)
  return results
}

async function runClient(
  { url, targets }: TrafficOptions,
  random: SeededRandom,
  endMs: number,
  results: RequestResult[],
): Promise<void> {
  while (performance.now() < endMs) {
    const target = targets[random.below(targets.length)] ?? ''
    const turnEndMs = Math.min(endMs, performance.now() + 1500 + random.below(4500))
    while (performance.now() < turnEndMs) {
      const result = await requestOnce(url, {
        target,
        prompt: PROMPTS[random.below(PROMPTS.length)] ?? '',
        maxTokens: [4, 16, 48][random.below(3)] ?? 4,
        isStreamed: random.next() < 0.5,
        hangUpMs: random.next() < 0.12 ? random.below(600) : null,
        waitSeconds: [null, null, 0, 3, 20][random.below(5)] ?? null,
      })
      results.push(result)
      if (result.outcome !== 'refused') continue
      await sleep(Math.min(MOST_RETRY_MS, (result.retryAfterSeconds ?? 1) * 1000))
    }
    // Models are only unloaded while nobody asks for them.
    await sleep(random.below(1500))
  }
}
