/**
 * A GGUF file of architecture `llama` in Hugging Face's terms: names of tensors, order of rows, config.json and tokenizer
 * files. Pure. Other architectures are refused: their folders can be quantized from Hugging Face's own files.
 *
 * G1 Converters to GGUF interleave the two halves of each head of q and k; here that is undone.
 */

import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import type { TokenizerDescription } from '../../text/tokenizer-description.ts'
import { cliError } from '../errors.ts'

const WHOLE: Readonly<Record<string, string>> = {
  'token_embd.weight': 'model.embed_tokens.weight',
  'output_norm.weight': 'model.norm.weight',
  'output.weight': 'lm_head.weight',
}
const PARTS: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
}

/** @throws ServingError CLI_CANNOT_QUANTIZE for what a folder of `LlamaForCausalLM` cannot say */
export function checkGguf(checkpoint: Checkpoint): void {
  const architecture = checkpoint.metadata.get('general.architecture')
  const refuse = (expected: string, got: string): never => {
    const next = 'quantize the model’s Hugging Face folder instead'
    throw cliError('CLI_CANNOT_QUANTIZE', { details: { expected, got, next } })
  }
  if (architecture !== 'llama') refuse('a GGUF file of architecture llama', String(architecture))
  const scaling = checkpoint.metadata.get('llama.rope.scaling.type')
  if (
    checkpoint.tensors.has('rope_freqs.weight') ||
    (scaling !== undefined && scaling !== 'none')
  ) {
    refuse('rotary positions without scaling', 'a GGUF file that scales them')
  }
  for (const name of checkpoint.tensors.keys()) {
    if (huggingFaceName(name) === null) refuse('the tensors of a plain llama', name)
  }
}

/** `null` for a tensor that has no place there. */
export function huggingFaceName(name: string): string | null {
  if (Object.hasOwn(WHOLE, name)) return WHOLE[name] ?? null
  const [, layer, part, what] = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name) ?? []
  const module = part !== undefined && Object.hasOwn(PARTS, part) ? PARTS[part] : undefined
  return module === undefined ? null : `model.layers.${layer}.${module}.${what}`
}

/** Which stored row stands in each place (G1); `null` = as they are. */
export function rowOrder({ metadata }: Checkpoint, name: string, rows: number): Int32Array | null {
  const part = /\.(attn_[qk])\.(?:weight|bias)$/.exec(name)?.[1]
  if (part === undefined) return null
  const numHeads = Number(metadata.get('llama.attention.head_count'))
  const heads =
    part === 'attn_q' ? numHeads : Number(metadata.get('llama.attention.head_count_kv') ?? numHeads)
  const headDim = rows / heads
  return Int32Array.from({ length: rows }, (_, row) => {
    const [head, within] = [Math.floor(row / headDim), row % headDim]
    const [half, pair] = [Math.floor(within / (headDim / 2)), within % (headDim / 2)]
    return head * headDim + 2 * pair + half
  })
}

export function configJson(checkpoint: Checkpoint): Record<string, unknown> {
  const { metadata, tensors } = checkpoint
  const number = (key: string): number => Number(metadata.get(`llama.${key}`))
  const numHeads = number('attention.head_count')
  const embedding = tensors.get('token_embd.weight')
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: number('embedding_length'),
    intermediate_size: number('feed_forward_length'),
    num_hidden_layers: number('block_count'),
    num_attention_heads: numHeads,
    num_key_value_heads: Number(metadata.get('llama.attention.head_count_kv') ?? numHeads),
    head_dim: (tensors.get('blk.0.attn_q.weight')?.shape[0] ?? 0) / numHeads,
    rms_norm_eps: number('attention.layer_norm_rms_epsilon'),
    rope_theta: Number(metadata.get('llama.rope.freq_base') ?? 10_000),
    max_position_embeddings: number('context_length'),
    vocab_size: embedding?.shape[0],
    attention_bias: tensors.has('blk.0.attn_q.bias'),
    mlp_bias: false,
    tie_word_embeddings: !tensors.has('output.weight'),
    bos_token_id: metadata.get('tokenizer.ggml.bos_token_id') ?? null,
    eos_token_id: metadata.get('tokenizer.ggml.eos_token_id') ?? null,
    torch_dtype: 'bfloat16',
  }
}

/** Texts of files by name. @throws ServingError CLI_CANNOT_QUANTIZE for a tokenizer that has no tokenizer.json */
export function tokenizerFiles(tokenizer: TokenizerDescription): Readonly<Record<string, string>> {
  if (tokenizer.model.kind !== 'huggingFace') {
    const expected = 'a tokenizer that can be written as tokenizer.json'
    const next = 'quantize the model’s Hugging Face folder instead'
    throw cliError('CLI_CANNOT_QUANTIZE', {
      details: { expected, got: 'one of SentencePiece pieces', next },
    })
  }
  const template = tokenizer.chatTemplates.get('default')
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...tokenizer.specialTokens,
    ...(template === undefined ? {} : { chat_template: template }),
  }
  return {
    'tokenizer.json': tokenizer.model.json,
    'tokenizer_config.json': JSON.stringify(config, null, 2),
  }
}
