/**
 * The one configuration of a process, decided and frozen, cut into a slice a room. A room gets its slice only.
 *
 * Nothing changes it afterwards. What must know the model first (`auto` of KV memory and context) stays `auto` here and
 * is decided by the deployment's plan, with its reason, in the same table.
 */

import type { KvDtype } from '../base/kv-dtype.ts'
import type { WeightsChoice } from '../base/weights-choice.ts'
import type { Origin } from './option.ts'
import type { LogLevel, OptionKey } from './options.ts'

export interface ModelConfig {
  /** As written; `null` = the catalog's default. */
  readonly name: string | null
  /** First the id; `null` = after the catalog entry or the file. */
  readonly servedNames: readonly string[] | null
  readonly weights: WeightsChoice
  /** Of the model that guesses, as written; `null` = none. */
  readonly draft: string | null
}

export interface StoreConfig {
  /** Absolute. */
  readonly home: string
  /** Absolute folder for packed weights, and how much it may take; 0 = none. */
  readonly packs: { readonly folder: string; readonly limitBytes: number }
  /** The same for keys and values of prompt beginnings. */
  readonly kvDisk: { readonly folder: string; readonly limitBytes: number }
  /** Variables that the store reads by itself: pip's, the hub's and the proxies'. */
  readonly environment: Readonly<Record<string, string | undefined>>
}

/** None of it changes an answer. */
export interface SchedulingConfig {
  readonly prefixCache: boolean
  /** Milliseconds. */
  readonly targetItl: number | 'auto' | 'off'
  readonly maxDraftTokens: number
}

export interface EngineConfig {
  readonly threads: number
  readonly kvMemoryBytes: number | null
  /** For sequences that are put out; `null` = a share of the KV memory. */
  readonly swapBytes: number | null
  readonly activations: 'int8' | 'bf16' | 'f32'
  readonly kvDtype: KvDtype
  readonly blockSize: 16 | 32 | 64
  readonly maxNumBatchedTokens: number
  readonly maxNumSeqs: number
  readonly maxContextTokens: number | null
  readonly scheduling: SchedulingConfig
}

export interface AdaptersConfig {
  /** Loaded at the start; `name` may begin with an endpoint's and a colon. Folders are absolute. */
  readonly modules: readonly { readonly name: string; readonly folder: string }[]
  readonly maxLoras: number
  readonly maxRank: number
  /** Absolute; what may be loaded over HTTP, `null` = nothing. */
  readonly runtimeFolder: string | null
}

export interface AdmissionConfig {
  readonly maxQueuedSequences: number
}

export interface ListenConfig {
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
  readonly gracePeriodMs: number
  /** 0 = never. */
  readonly keepAliveMs: number
  readonly maxBodyBytes: number
  /** `null` = none, then only this machine administers. */
  readonly adminToken: string | null
}

export interface AuditConfig {
  /** Absolute. */
  readonly file: string
  readonly fsync: 'batch' | 'interval' | 'never'
}

export interface LogConfig {
  readonly level: LogLevel
}

/** One line of the table printed at start. */
export interface Choice {
  readonly key: OptionKey
  /** For people. */
  readonly value: string
  /** Why: where it was written, or how it was decided. */
  readonly reason: string
  readonly origin: Origin['kind'] | 'auto'
}

export interface RuntimeConfig {
  readonly model: ModelConfig
  readonly store: StoreConfig
  readonly engine: EngineConfig
  readonly adapters: AdaptersConfig
  readonly admission: AdmissionConfig
  readonly server: ListenConfig
  readonly audit: AuditConfig
  readonly log: LogConfig
  /** One a setting, in the order of the table of settings. */
  readonly choices: readonly Choice[]
}
