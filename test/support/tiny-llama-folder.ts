/** A tiny llama as a Hugging Face folder, on the disk or only as an index: `config.json` and the tensors it asks for. */

import type { Checkpoint, MetadataValue, TensorInfo } from '../../src/checkpoint/checkpoint.ts'
import { encodeSafetensors, f32, writeModelFolder } from './safetensors-writer.ts'
import { seededRandom } from './seeded-random.ts'

export const TINY_CONFIG: Readonly<Record<string, unknown>> = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0,
  bos_token_id: 1,
  dtype: 'float32',
  eos_token_id: 2,
  head_dim: 16,
  hidden_act: 'silu',
  hidden_size: 48,
  initializer_range: 0.02,
  intermediate_size: 80,
  max_position_embeddings: 512,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 4,
  num_hidden_layers: 2,
  num_key_value_heads: 2,
  pad_token_id: 0,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_parameters: { rope_type: 'default', rope_theta: 5000 },
  tie_word_embeddings: false,
  transformers_version: '5.23.0',
  use_cache: true,
  vocab_size: 96,
}

export interface TinyFolder extends Checkpoint {
  readonly metadata: Map<string, MetadataValue>
  readonly tensors: Map<string, TensorInfo>
}

/** @param change - members to set, or to leave out when `undefined` */
export function tinyLlamaFolder(change: Readonly<Record<string, unknown>> = {}): TinyFolder {
  const config = { ...TINY_CONFIG, ...change }
  const metadata = new Map(
    Object.entries(config)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, metadataOf(value)]),
  )
  const tensors = new Map<string, TensorInfo>()
  const add = (name: string, shape: readonly number[]) => {
    const byteLength = 4 * shape.reduce((product, extent) => product * extent, 1)
    const place = { file: '/model/model.safetensors', offset: 0, byteLength }
    tensors.set(name, { name, format: 'F32', shape, ...place })
  }
  add('model.embed_tokens.weight', [96, 48])
  add('model.norm.weight', [48])
  if (config.tie_word_embeddings !== true) add('lm_head.weight', [96, 48])
  for (let layer = 0; layer < 2; layer++) {
    const at = `model.layers.${layer}`
    const linear = (name: string, rows: number, width: number, hasBias: unknown) => {
      add(`${at}.${name}.weight`, [rows, width])
      if (hasBias === true) add(`${at}.${name}.bias`, [rows])
    }
    add(`${at}.input_layernorm.weight`, [48])
    add(`${at}.post_attention_layernorm.weight`, [48])
    linear('self_attn.q_proj', 64, 48, config.attention_bias)
    linear('self_attn.k_proj', 32, 48, config.attention_bias)
    linear('self_attn.v_proj', 32, 48, config.attention_bias)
    linear('self_attn.o_proj', 48, 64, config.attention_bias)
    linear('mlp.gate_proj', 80, 48, config.mlp_bias)
    linear('mlp.up_proj', 80, 48, config.mlp_bias)
    linear('mlp.down_proj', 48, 80, config.mlp_bias)
  }
  const files = ['/model/config.json', '/model/model.safetensors']
  return { kind: 'safetensors', files, metadata, tensors, totalTensorBytes: 0 }
}

function metadataOf(value: unknown): MetadataValue {
  if (Array.isArray(value)) return value.map(metadataOf)
  if (typeof value !== 'object' || value === null) return value as MetadataValue
  return new Map(Object.entries(value).map(([key, member]) => [key, metadataOf(member)]))
}

export interface TinyWeight {
  readonly name: string
  readonly shape: readonly number[]
  readonly values: readonly number[]
}

/** Random weights of all its tensors, the same each time. */
export function tinyLlamaWeights(): readonly TinyWeight[] {
  const random = seededRandom(7)
  return [...tinyLlamaFolder().tensors].map(([name, { shape }]) => {
    const length = shape.reduce((product, extent) => product * extent, 1)
    const isNorm = shape.length === 1
    const value = () => (isNorm ? 1 : 0.3 * (random.next() - 0.5))
    return { name, shape, values: Array.from({ length }, value) }
  })
}

/** Write it with those weights. @param files - more files of the folder */
export function writeTinyLlamaFolder(
  folder: string,
  files: Readonly<Record<string, string | object>> = {},
): Promise<string> {
  const entries = tinyLlamaWeights().map(
    ({ name, shape, values }) => [name, { shape, data: f32(values) }] as const,
  )
  const weights = encodeSafetensors(Object.fromEntries(entries))
  const own = { 'config.json': TINY_CONFIG, 'model.safetensors': weights }
  return writeModelFolder(folder, { ...own, ...files })
}
