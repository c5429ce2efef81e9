/**
 * What makes requests belong to the same replica: the caller's own key, else the beginning of the prompt within the
 * caller's cache domain. Changes no answer, only whose prefix cache is warm. Pure.
 */

import type { SequenceSpec } from '../../worker/messages.ts'

/** A system prompt's beginning: long enough to tell assistants apart, short enough that turns of a chat agree. */
const PREFIX_TOKENS = 64

/** @param sequences - of one request, at least one */
export function routingKey(
  sequences: readonly Pick<SequenceSpec, 'cacheKey' | 'cacheDomain' | 'promptIds'>[],
): string {
  const [first] = sequences
  if (first === undefined) return ''
  if (first.cacheKey !== undefined) return `key ${first.cacheKey}`
  return `prefix ${first.cacheDomain.join()} ${first.promptIds.subarray(0, PREFIX_TOKENS).join()}`
}
