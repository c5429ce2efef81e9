/** Resident memory of processes, from Linux's /proc. Reads, owns nothing. */

import { readFileSync } from 'node:fs'

export interface ResidentMemory {
  readonly totalBytes: number
  /** Of it, bytes that no file backs. What files back (mapped weights, libraries) is shared and can be dropped. */
  readonly anonymousBytes: number
}

export function residentMemory(pid: number): ResidentMemory {
  return readStatus(readFileSync(`/proc/${pid}/status`, 'utf8'))
}

/** @param text - of /proc/PID/status */
export function readStatus(text: string): ResidentMemory {
  const bytes = (name: string) =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? Number.NaN)
  return { totalBytes: bytes('VmRSS'), anonymousBytes: bytes('RssAnon') }
}
