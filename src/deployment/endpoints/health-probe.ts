/**
 * Asks a replica for one real token: the only proof that its model computes. A prompt of one token fills no block, so
 * nothing of it stays in the prefix cache. Owns nothing but the wait.
 */

import type { SequenceId } from '../../base/ids.ts'
import { DEFAULT_SAMPLING_PARAMS } from '../../sampling/sampling-params.ts'
import type { SequenceSpec } from '../../worker/messages.ts'
import type { Timer } from '../../worker/timer.ts'
import type { ReplicaSequences } from '../replica.ts'

export interface ProbeSettings {
  /** Between two probes of an idle replica. */
  readonly everyMs: number
  /** Without a token for so long it is started again; beyond a whole batch of prompts on a slow machine. */
  readonly timeoutMs: number
}

export const DEFAULT_PROBE_SETTINGS: ProbeSettings = { everyMs: 30_000, timeoutMs: 60_000 }

/** @returns `null` when a token came, else why none did, in words for a sentence */
export function probe(
  replica: ReplicaSequences,
  id: SequenceId,
  timer: Timer,
  timeoutMs: number,
): Promise<string | null> {
  return new Promise((resolve) => {
    const stopWaiting = timer.after(timeoutMs, () => {
      replica.cancel([id])
      resolve(`it gave no token to a probe for ${Math.round(timeoutMs / 1000)} s`)
    })
    const end = (reason: string | null): void => {
      stopWaiting()
      resolve(reason)
    }
    try {
      replica.submit([probeSequence(id)], {
        onUpdate: ({ tokenIds, finish, error }) => {
          if (tokenIds.length > 0) end(null)
          else if (error !== null) end(`a probe failed: ${error.message}`)
          else if (finish !== null) end('it ended a probe without a token')
        },
        onLost: () => end('it ended during a probe'),
      })
    } catch (error) {
      end(error instanceof Error ? error.message : String(error))
    }
  })
}

function probeSequence(id: SequenceId): SequenceSpec {
  return {
    id,
    promptIds: Int32Array.of(0),
    params: { ...DEFAULT_SAMPLING_PARAMS, temperature: 0, seed: 0n, maxTokens: 1 },
    choice: 0,
    cacheDomain: new Int32Array(4),
    tier: 'priority',
    tenant: 'probe',
    maxQueueMs: null,
  }
}
