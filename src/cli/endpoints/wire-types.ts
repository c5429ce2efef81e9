/** What the commands read of the server's answers: its routes' own shapes, as far as they are shown. Types only. */

export interface ReplicaAnswer {
  readonly replica: number
  readonly state: string
  readonly pid: number | null
  readonly restarts: number
  readonly running: number
  readonly waiting: number
  readonly reason: string | null
}

export interface SpecAnswer {
  readonly name: string
  readonly display_name: string | null
  readonly mode: 'serverless' | 'dedicated'
  readonly variants: readonly {
    readonly name: string
    readonly source: string
    readonly digest: string | null
  }[]
  readonly is_pinned: boolean
  readonly inactive_timeout_ms: number | null
  readonly cold_start_wait_ms: number
  readonly autoscaling: { readonly min_replicas: number; readonly max_replicas: number }
}

export interface StatusAnswer {
  readonly id: string
  readonly spec: SpecAnswer
  readonly state: string
  readonly reason: string | null
  readonly replicas: readonly ReplicaAnswer[]
  readonly variant: { readonly name: string; readonly reason: string } | null
  readonly reserved_bytes: number
  readonly load_ms: number | null
  readonly idle_ms: number | null
  readonly created_at: number
  readonly num_open_requests: number
}

export interface PoolAnswer {
  readonly budget_bytes: number
  readonly budget_reason: string
  readonly reserved_bytes: number
  readonly resident_bytes: number
  readonly num_loading: number
  readonly endpoints: readonly StatusAnswer[]
}

export interface ProfileAnswer {
  readonly variant: string
  readonly quantization: string
  readonly format: string
  readonly weights_bytes: number
  readonly kv_memory_bytes: number
  readonly max_context_tokens: number
  readonly total_bytes: number
  readonly fits_now: boolean
  readonly quality_kl: number | null
  readonly tokens_per_second: number | null
}

export interface ChangeAnswer {
  readonly sequence: number
  readonly time: string
  readonly who: string
  readonly what: string
  readonly name: string
  readonly before: Readonly<Record<string, unknown>> | null
  readonly after: Readonly<Record<string, unknown>> | null
}

export interface AliasAnswer {
  readonly name: string
  readonly targets: readonly string[]
  readonly allow_fallbacks: boolean
  readonly quantizations: readonly string[] | null
  readonly revision: string
}

export interface HardwareAnswer {
  readonly id: string
  readonly specs: { readonly gpu_count: number; readonly gpu_memory: number }
  readonly availability?: { readonly status: string }
}
