/** A replica's health as routes show it. Owns nothing. */

import type { ReplicaHealth } from '../deployment/deployments.ts'

export function replicaView(replica: ReplicaHealth): object {
  return {
    model: replica.modelId,
    replica: replica.replica,
    state: replica.state,
    pid: replica.pid,
    restarts: replica.numRestarts,
    running: replica.numRunning,
    waiting: replica.numWaiting,
    free_blocks: replica.numFreeBlocks,
    blocks: replica.numBlocks,
    since_ms: Math.round(replica.sinceMs),
    reason: replica.reason,
  }
}
