/**
 * The machine as Together's list of hardware: one entry for each number of cores that a replica may have.
 *
 * Owns nothing. An id such as `cpu_2x_avx512` is what an endpoint's threads are called.
 */

import type { MachineFacts } from '../../administration.ts'
import { invalidValue } from '../../errors.ts'

const GIGABYTE = 1e9

/** 1, 2, 4, … and all cores. */
export function threadCounts({ numCores }: MachineFacts): readonly number[] {
  const counts: number[] = []
  for (let count = 1; count < numCores; count *= 2) counts.push(count)
  return [...counts, numCores]
}

export function hardwareId({ kernels }: MachineFacts, threads: number): string {
  return `cpu_${threads}x_${kernels.replaceAll(/[^a-z\d]+/gi, '_')}`
}

/** @throws ServingError SERVER_INVALID_VALUE naming the ids that there are */
export function threadsOf(machine: MachineFacts, id: string): number {
  const known = threadCounts(machine)
  const threads = known.find((count) => hardwareId(machine, count) === id)
  if (threads !== undefined) return threads
  const ids = known.map((count) => hardwareId(machine, count)).join(', ')
  throw invalidValue(
    'hardware',
    `one of ${ids} (GET /v1/hardware)`,
    `a string of length ${id.length}`,
  )
}

/** Together's words: `insufficient` = not while others hold the memory, `unavailable` = never here. */
export type Availability = 'available' | 'insufficient' | 'unavailable'

/** @param totalBytes - of each way to serve the model */
export function availabilityOf(
  profiles: readonly { readonly totalBytes: number; readonly fitsNow: boolean }[],
  budgetBytes: number,
): Availability {
  if (profiles.some(({ fitsNow }) => fitsNow)) return 'available'
  return profiles.some(({ totalBytes }) => totalBytes <= budgetBytes)
    ? 'insufficient'
    : 'unavailable'
}

/** @param availability - `null` when no model was asked for; then the field is left out, as in Together's answers */
export function hardwareObject(
  machine: MachineFacts,
  threads: number,
  availability: Availability | null,
  now: Date,
): object {
  return {
    object: 'hardware',
    id: hardwareId(machine, threads),
    // Nobody is billed for a machine of their own.
    pricing: { cents_per_minute: 0 },
    // Their words; there is no GPU here: cores, and the memory that all replicas share.
    specs: {
      gpu_type: `cpu-${machine.kernels}`,
      gpu_link: 'shared-memory',
      gpu_memory: Math.round(machine.memoryBytes / GIGABYTE),
      gpu_count: threads,
    },
    ...(availability === null ? {} : { availability: { status: availability } }),
    updated_at: now.toISOString(),
  }
}
