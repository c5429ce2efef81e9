/**
 * What an answer tells of who served it, without asking: `x-ingot-…` headers, which clients that do not know them leave
 * alone. On a stream whose headers left while its model was loading they are missing; whoever needs them there asks for
 * them in the body (`provider` of the OpenAI dialect).
 *
 * Owns nothing. Knows no dialect.
 */

import type { ServedBy } from '../deployment/endpoints/routing.ts'
import type { StartedEvent } from './generation-run.ts'

const MAX_LENGTH = 1000

/** @param started - one a prompt; values that differ between prompts stand one after the other */
export function servedHeaders(started: readonly StartedEvent[]): Record<string, string> {
  const served = started.flatMap((event) => event.served ?? [])
  if (served.length === 0) return {}
  const headers: Record<string, string> = {}
  for (const [name, pick] of HEADERS) {
    const values = new Set(served.flatMap((one) => pick(one) ?? []))
    if (values.size > 0) headers[name] = printable([...values].join(', '))
  }
  return headers
}

const HEADERS: readonly (readonly [name: string, pick: (served: ServedBy) => string | null])[] = [
  ['x-ingot-endpoint', ({ endpoint }) => endpoint],
  ['x-ingot-variant', ({ variant }) => variant],
  ['x-ingot-reason', ({ reason }) => reason],
  ['x-ingot-quantization', ({ quantization }) => quantization],
  ['x-ingot-revision', ({ modelRevision }) => modelRevision],
  ['x-ingot-serving-config', ({ servingConfigDigest }) => servingConfigDigest],
  ['x-ingot-region', ({ region }) => region],
  ['x-ingot-retention', ({ retention }) => retention],
  ['x-ingot-fallbacks', ({ fallbacks }) => (fallbacks.length === 0 ? null : fallbacks.join('; '))],
]

/** Headers are ASCII; a reason may name a file that is not. */
function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_LENGTH)
}
