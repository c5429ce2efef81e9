/**
 * Members of `config.json`, of any architecture, that say nothing of how logits are computed from tokens: training,
 * files, generation's defaults, and what other runtimes note down. Source: transformers, `PreTrainedConfig`.
 */

export const NOT_COMPUTED: readonly string[] = [
  '_attn_implementation_autoset',
  '_name_or_path',
  'attention_dropout',
  'bos_token_id',
  'chunk_size_feed_forward',
  'dtype',
  'id2label',
  'initializer_range',
  'is_decoder',
  'is_llama_config',
  'label2id',
  'max_length',
  'output_attentions',
  'output_hidden_states',
  'pad_token_id',
  'problem_type',
  'return_dict',
  'sep_token_id',
  'task_specific_params',
  'torch_dtype',
  'transformers.js_config',
  'transformers_version',
  'unk_token_id',
  'unsloth_fixed',
  'unsloth_version',
  'use_cache',
]
