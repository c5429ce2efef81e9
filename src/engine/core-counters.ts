/** What an engine has done since it was made, and how that becomes its statistics. Owns the counts. */

import type { InputBatch } from './input-batch.ts'
import type { KvTier } from './kv-tier.ts'
import type { Scheduler } from './scheduler.ts'
import type { EngineCoreStats } from './updates.ts'

export class CoreCounters {
  numSteps = 0
  numPreemptions = 0
  numPromptTokens = 0
  numGeneratedTokens = 0
  numDraftTokens = 0
  numAcceptedDrafts = 0
  /** Of the last step. */
  stepMs = 0

  /** Of `numGuesses` rows the first `numAccepted` were right. */
  judge(numGuesses: number, numAccepted: number): void {
    this.numDraftTokens += numGuesses
    this.numAcceptedDrafts += numAccepted
  }

  stats(
    { pool, running, numWaiting, reuse }: Scheduler,
    { numTokens }: InputBatch,
    tier: KvTier | null,
    predictedWaitMs: number,
  ): EngineCoreStats {
    return {
      numRunning: running.length,
      numWaiting,
      numFreeBlocks: pool.numFree,
      numCachedBlocks: pool.numCachedFree,
      numBlocks: pool.numBlocks,
      numSteps: this.numSteps,
      numPreemptions: this.numPreemptions,
      numPromptTokens: this.numPromptTokens,
      numGeneratedTokens: this.numGeneratedTokens,
      numDraftTokens: this.numDraftTokens,
      numAcceptedDrafts: this.numAcceptedDrafts,
      predictedWaitMs,
      stepMs: this.stepMs,
      numScheduledTokens: numTokens,
      ...reuse.stats,
      tier: tier?.stats ?? null,
    }
  }
}
