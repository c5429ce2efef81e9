/**
 * Under which names an architecture's tensors lie in each kind of checkpoint: one table for a kind, by GGUF's words for
 * the parts. Most architectures share the standard tables here, or add a few parts to them.
 *
 * What a table has says how tensors are stored: `attn_qkv` instead of `attn_q`, `attn_k` and `attn_v` is one joined
 * matrix. Reads no bytes.
 */

import { invariant } from '../../src/base/errors.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'

/** Parts of a layer, by GGUF's words for them. */
export type Part =
  | 'attn_norm'
  | 'attn_q'
  | 'attn_k'
  | 'attn_v'
  | 'attn_qkv'
  | 'attn_q_norm'
  | 'attn_k_norm'
  | 'attn_output'
  | 'post_attention_norm'
  | 'ffn_norm'
  | 'ffn_gate'
  | 'ffn_up'
  | 'ffn_gate_up'
  | 'ffn_down'
  | 'post_ffw_norm'
  | 'attn_q_a'
  | 'attn_q_a_norm'
  | 'attn_q_b'
  | 'attn_kv_a_mqa'
  | 'attn_kv_a_norm'
  | 'ffn_gate_inp'
  | 'ffn_gate_shexp'
  | 'ffn_up_shexp'
  | 'ffn_down_shexp'

export interface NameTable {
  /** In front of all names but the head's; a checkpoint may leave it off altogether. */
  readonly prefix: string
  readonly embedding: string
  /** Learned positions, if there are any. */
  readonly positions?: string
  /** The last norm, without `.weight`. */
  readonly norm: string
  readonly head: string
  /** Of layer `n`: this, `.n.`, the part, `.weight` or `.bias`. */
  readonly layers: string
  readonly parts: Readonly<Partial<Record<Part, string>>>
  /** `columns`: matrices of layers are stored [in, out]. */
  readonly layout?: 'rows' | 'columns'
  /** Whole names within a layer, of what not every decoder has. */
  readonly sinks?: string
  readonly experts?: ExpertNames
  readonly latent?: LatentNames
}

/** The matrices that make keys and values of a latent vector: joined, or (GGUF) apart. */
export interface LatentNames {
  readonly joined: string
  readonly apart?: LatentPair
}

export interface LatentPair {
  readonly key: string
  readonly value: string
}

/** With the pair that may lie beside the joined matrix and says the same. */
export type StoredLatent =
  | LatentPair
  | { readonly joined: string; readonly others: LatentPair | null }

/**
 * Whole names within a layer. With `{}` in the number's place each expert has a tensor of its own; without, one tensor
 * holds those of all, [experts, …].
 */
export interface ExpertNames {
  /** Gate and up, or one name for both together. */
  readonly gateUp: readonly string[]
  readonly down: string
  /** Of models whose experts have biases. */
  readonly gateUpBias?: readonly string[]
  readonly downBias?: string
  /** `columns`: the experts' matrices are stored [in, out]. */
  readonly layout?: 'rows' | 'columns'
  /** Where both are one: gate and up alternate. */
  readonly isInterleaved?: boolean
  /** Of models whose router has one: what is added to its scores. */
  readonly correction?: string
  /** Of models with one: the row that the shared expert's gate is made with. */
  readonly sharedGate?: string
}

export type NameTables = Readonly<Record<Checkpoint['kind'], NameTable>>

/** Of llama and most after it. */
export const STANDARD_NAMES: NameTables = {
  gguf: {
    prefix: '',
    embedding: 'token_embd.weight',
    norm: 'output_norm',
    head: 'output.weight',
    layers: 'blk',
    parts: {
      attn_norm: 'attn_norm',
      attn_q: 'attn_q',
      attn_k: 'attn_k',
      attn_v: 'attn_v',
      attn_output: 'attn_output',
      ffn_norm: 'ffn_norm',
      ffn_gate: 'ffn_gate',
      ffn_up: 'ffn_up',
      ffn_down: 'ffn_down',
    },
  },
  safetensors: {
    prefix: 'model.',
    embedding: 'embed_tokens.weight',
    norm: 'norm',
    head: 'lm_head.weight',
    layers: 'layers',
    parts: {
      attn_norm: 'input_layernorm',
      attn_q: 'self_attn.q_proj',
      attn_k: 'self_attn.k_proj',
      attn_v: 'self_attn.v_proj',
      attn_output: 'self_attn.o_proj',
      ffn_norm: 'post_attention_layernorm',
      ffn_gate: 'mlp.gate_proj',
      ffn_up: 'mlp.up_proj',
      ffn_down: 'mlp.down_proj',
    },
  },
}

/** Parts that an architecture has more, or under another name, or (`null`) not. */
type PartChanges = Readonly<Partial<Record<Part, string | null>>>

export type NameChanges = Readonly<Record<Checkpoint['kind'], PartChanges>>

/** Norms of q and k. */
export const QK_NORM_NAMES: NameChanges = {
  gguf: { attn_q_norm: 'attn_q_norm', attn_k_norm: 'attn_k_norm' },
  safetensors: { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' },
}

/** Norms on both sides of each half. */
export const GEMMA_NORM_NAMES: NameChanges = {
  gguf: { post_attention_norm: 'post_attention_norm', post_ffw_norm: 'post_ffw_norm' },
  safetensors: {
    post_attention_norm: 'post_attention_layernorm',
    ffn_norm: 'pre_feedforward_layernorm',
    post_ffw_norm: 'post_feedforward_layernorm',
  },
}

/** Gate and up joined; GGUF calls both together `ffn_up`. */
export const JOINED_GATE_UP_NAMES: NameChanges = {
  gguf: { ffn_gate: null, ffn_up: null, ffn_gate_up: 'ffn_up' },
  safetensors: { ffn_gate: null, ffn_up: null, ffn_gate_up: 'mlp.gate_up_proj' },
}

/** The standard tables with other parts; later changes go before earlier ones. */
export function namesWith(...all: readonly NameChanges[]): NameTables {
  const changed = (kind: Checkpoint['kind']): NameTable => {
    const changes = all.map((each) => each[kind])
    const parts: PartChanges = Object.assign({}, STANDARD_NAMES[kind].parts, ...changes)
    const kept = Object.entries(parts).filter(([, name]) => name !== null)
    return { ...STANDARD_NAMES[kind], parts: Object.fromEntries(kept) }
  }
  return { gguf: changed('gguf'), safetensors: changed('safetensors') }
}

/** Tables with names that are no parts. */
export function extended(
  { gguf, safetensors }: NameTables,
  extras: Readonly<Record<Checkpoint['kind'], Pick<NameTable, 'sinks' | 'experts' | 'latent'>>>,
): NameTables {
  return {
    gguf: { ...gguf, ...extras.gguf },
    safetensors: { ...safetensors, ...extras.safetensors },
  }
}

/** A table's names in one checkpoint: with its prefix, or without where the checkpoint leaves it off. */
export class TensorNames {
  readonly layout: 'rows' | 'columns'
  readonly #table: NameTable
  readonly #prefix: string
  readonly #parts: NameTable['parts']
  readonly #hasJoinedLatent: boolean

  constructor({ kind, tensors }: Checkpoint, table: NameTable) {
    this.#table = table
    // Converters to GGUF join q, k and v of any architecture when they are told to.
    const isJoined = kind === 'gguf' && tensors.has(`${table.layers}.0.attn_qkv.weight`)
    this.#parts = isJoined ? { ...table.parts, attn_qkv: 'attn_qkv' } : table.parts
    this.layout = table.layout ?? 'rows'
    // Older converters of latent attention left it in one matrix, others wrote it both ways.
    const joined = `${table.layers}.0.${table.latent?.joined}`
    this.#hasJoinedLatent = kind === 'safetensors' || tensors.has(joined)
    const { prefix, embedding } = table
    const isBare = tensors.has(embedding) && !tensors.has(`${prefix}${embedding}`)
    this.#prefix = isBare ? '' : prefix
  }

  get embedding(): string {
    return `${this.#prefix}${this.#table.embedding}`
  }

  get positions(): string | null {
    const { positions } = this.#table
    return positions === undefined ? null : `${this.#prefix}${positions}`
  }

  get sinks(): string | null {
    return this.#table.sinks ?? null
  }

  get experts(): ExpertNames {
    const { experts } = this.#table
    invariant(experts !== undefined, 'L5', 'an architecture with experts names them')
    return experts
  }

  /** As this checkpoint has it: joined, unless it has the two apart only. */
  get latent(): StoredLatent {
    const { latent } = this.#table
    invariant(latent !== undefined, 'L6', 'an architecture with latent attention names its parts')
    const { joined, apart } = latent
    return this.#hasJoinedLatent || apart === undefined ? { joined, others: apart ?? null } : apart
  }

  get head(): string {
    return this.#table.head
  }

  norm(what: 'weight' | 'bias'): string {
    return `${this.#prefix}${this.#table.norm}.${what}`
  }

  has(part: Part): boolean {
    return this.#parts[part] !== undefined
  }

  /** Of a layer; a table without the part is a mistake of the architecture's file. */
  part(layer: number, part: Part, what: 'weight' | 'bias'): string {
    return this.inLayer(layer, `${this.#parts[part] ?? `no-${part}`}.${what}`)
  }

  inLayer(layer: number, name: string): string {
    return `${this.#prefix}${this.#table.layers}.${layer}.${name}`
  }
}
