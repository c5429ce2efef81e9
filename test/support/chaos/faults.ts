/** Kills engines at random and has the configuration read again, right and wrong, until it is stopped. */

import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../seeded-random.ts'
import { descendants } from './process-memory.ts'

export interface FaultOptions {
  readonly url: string
  readonly pid: number
  readonly seed: number
  readonly configFile: string
  /** What the file may say; all of it serves the same names. */
  readonly configurations: readonly string[]
  readonly brokenConfiguration: string
}

export interface FaultCounts {
  numKills: number
  numReloads: number
  numSignals: number
  /** Broken files that were refused, as they must be. */
  numRefusals: number
  /** What went otherwise than it must. */
  readonly surprises: string[]
}

const KILL_EVERY_MS = 9000
const RELOAD_EVERY_MS = 6000

export async function runFaults(options: FaultOptions, signal: AbortSignal): Promise<FaultCounts> {
  const counts: FaultCounts = {
    numKills: 0,
    numReloads: 0,
    numSignals: 0,
    numRefusals: 0,
    surprises: [],
  }
  await Promise.all([runKills(options, counts, signal), runReloads(options, counts, signal)])
  return counts
}

async function runKills(
  { pid, seed }: FaultOptions,
  counts: FaultCounts,
  signal: AbortSignal,
): Promise<void> {
  const random = seededRandom(seed ^ 0x5eed)
  for (;;) {
    await pause(KILL_EVERY_MS / 2 + random.below(KILL_EVERY_MS), signal)
    if (signal.aborted) return
    const engines = descendants(pid)
    const victim = engines[random.below(Math.max(1, engines.length))]
    if (victim === undefined) continue
    try {
      process.kill(victim, 'SIGKILL')
      counts.numKills += 1
    } catch {
      // It ended by itself between the look and the kill.
    }
  }
}

async function runReloads(
  options: FaultOptions,
  counts: FaultCounts,
  signal: AbortSignal,
): Promise<void> {
  const { url, pid, configFile, configurations, brokenConfiguration } = options
  for (let turn = 0; !signal.aborted; turn += 1) {
    await pause(RELOAD_EVERY_MS, signal)
    if (signal.aborted) return
    const isBroken = turn % 4 === 3
    const text = configurations[turn % configurations.length] ?? ''
    await writeFile(configFile, isBroken ? brokenConfiguration : text)
    if (!isBroken && turn % 2 === 1) {
      process.kill(pid, 'SIGHUP')
      counts.numSignals += 1
      continue
    }
    const response = await fetch(`${url}/v1/config/reload`, { method: 'POST' })
    const answer = await response.text()
    if (response.ok !== isBroken) counts[isBroken ? 'numRefusals' : 'numReloads'] += 1
    else counts.surprises.push(`reload ${isBroken ? 'of a broken file ' : ''}gave ${answer}`)
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  // Rejects when it is aborted, which the caller looks at.
  await sleep(milliseconds, undefined, { signal }).catch(() => {})
}
