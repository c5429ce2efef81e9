/**
 * Flags of `create` and `update` to the body of `POST` and `PATCH /v1/endpoints`. Turns texts into numbers and sizes; what
 * may be in a body is the server's to say, so both are refused with one wording.
 */

import { parseBytes } from '../../config/option.ts'
import { cliError } from '../errors.ts'

/** As commander parses them; all texts. */
export interface EndpointFlags {
  readonly name?: string
  readonly type?: string
  readonly weights?: string
  readonly hardware?: string
  readonly min?: string
  readonly max?: string
  readonly displayName?: string
  readonly inactiveTimeout?: string
  readonly digest?: string
  readonly kvMemory?: string
  readonly maxContext?: string
  readonly maxSequences?: string
  readonly maxQueue?: string
  readonly coldStartWait?: string
  readonly pin?: boolean
  readonly speculation?: boolean
  readonly stopped?: boolean
  readonly model?: string
}

/** @throws ServingError CLI_BAD_ARGUMENT for a text that is no number or size */
export function endpointBody(flags: EndpointFlags): Record<string, unknown> {
  const body = {
    model: flags.model,
    name: flags.name,
    type: flags.type,
    weights: flags.weights?.split(',').map((format) => format.trim()),
    hardware: flags.hardware,
    autoscaling: autoscaling(flags),
    display_name: flags.displayName,
    inactive_timeout: count('--inactive-timeout', flags.inactiveTimeout),
    digest: flags.digest,
    kv_memory_bytes: size('--kv-memory', flags.kvMemory),
    max_context_tokens: count('--max-context', flags.maxContext),
    max_sequences: count('--max-sequences', flags.maxSequences),
    max_queue: count('--max-queue', flags.maxQueue),
    cold_start_wait_ms: milliseconds('--cold-start-wait', flags.coldStartWait),
    pinned: flags.pin,
    disable_speculative_decoding: flags.speculation === false ? true : undefined,
    state: flags.stopped === true ? 'STOPPED' : undefined,
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined))
}

/** One of the two stands for both: at least so many, or at most. */
export function autoscaling({ min, max }: Pick<EndpointFlags, 'min' | 'max'>): object | undefined {
  if (min === undefined && max === undefined) return undefined
  const floor = count('--min', min)
  const ceiling = count('--max', max)
  return {
    min_replicas: floor ?? Math.min(1, ceiling ?? 1),
    max_replicas: ceiling ?? Math.max(1, floor ?? 1),
  }
}

function count(flag: string, text: string | undefined): number | undefined {
  if (text === undefined || /^\d{1,15}$/.test(text)) return text === undefined ? text : Number(text)
  throw bad(flag, 'a whole number', text)
}

function milliseconds(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,9}(?:\.\d{1,3})?$/.test(text)) return Math.round(Number(text) * 1000)
  throw bad(flag, 'a number of seconds', text)
}

function size(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const bytes = parseBytes(text)
  if (bytes !== undefined) return bytes
  throw bad(flag, 'a size such as 512MiB', text)
}

function bad(flag: string, expected: string, text: string): Error {
  const got = JSON.stringify(text.slice(0, 100))
  const details = { expected: `${flag} to be ${expected}`, got, next: 'see --help' }
  return cliError('CLI_BAD_ARGUMENT', { param: flag, details })
}
