"""Writes tiny random checkpoints with what transformers computes from them in f32, many options of each architecture.

    python test/support/make_tiny_checkpoints.py OUT [--gguf LLAMA_CPP] [--only TEXT]

Each folder has config.json, model.safetensors and expected.safetensors (input_ids, logits, greedy_from_9), as those of
../shared/golden/tiny; with --gguf also folders NAME-gguf whose model.gguf was written by the converter of a checkout of
llama.cpp. TINY_CHECKPOINTS=OUT makes test/golden/tiny.test.ts run them. Never commit what this writes.
"""

import argparse
import json
import os
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

BASE = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=384, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)
ODD = dict(hidden_size=80, intermediate_size=100, vocab_size=331, num_attention_heads=5, num_key_value_heads=1,
           head_dim=24)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
GPT2 = dict(n_embd=64, n_layer=3, n_head=4, n_positions=512, vocab_size=384, bos_token_id=1, eos_token_id=2)
MLA = dict(num_key_value_heads=4, n_routed_experts=8, num_experts_per_tok=3, n_group=2, topk_group=1,
           moe_intermediate_size=32, n_shared_experts=1, kv_lora_rank=20, q_lora_rank=40, qk_rope_head_dim=12,
           v_head_dim=10, qk_nope_head_dim=14, first_k_dense_replace=1)
FULL, SLIDING = "full_attention", "sliding_attention"

VARIANTS = {
    "llama": {
        "odd": ODD, "mqa-bias": dict(num_key_value_heads=1, attention_bias=True, mlp_bias=True),
        "tied": dict(tie_word_embeddings=True), "gelu": dict(hidden_act="gelu"), "relu": dict(hidden_act="relu2"),
        "linear": dict(rope_parameters=dict(rope_type="linear", rope_theta=5000.0, factor=3.0)),
        "dynamic": dict(rope_parameters=dict(rope_type="dynamic", rope_theta=5000.0, factor=3.0)),
        "yarn": dict(rope_parameters=YARN),
        "yarn-exact": dict(rope_parameters=dict(YARN, truncate=False, beta_fast=20.0, beta_slow=2.0)),
        "yarn-mscale": dict(rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=1.3)),
        "yarn-factor": dict(rope_parameters=dict(YARN, attention_factor=0.8)),
        "llama3": dict(head_dim=32, rope_parameters=dict(rope_type="llama3", rope_theta=500000.0, factor=8.0,
                       low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=128)),
        "longrope": dict(rope_parameters=dict(rope_type="longrope", rope_theta=10000.0, factor=8.0,
                         original_max_position_embeddings=64,
                         short_factor=[1 + 0.1 * i for i in range(8)], long_factor=[2.0 + i for i in range(8)])),
    },
    "mistral": {
        "full": dict(sliding_window=None), "window-1": dict(sliding_window=1), "odd-5": dict(ODD, sliding_window=5),
        "head-dim-null": dict(head_dim=None, sliding_window=3), "tied": dict(tie_word_embeddings=True),
    },
    "qwen2": {
        "plain": {}, "odd": dict(ODD, tie_word_embeddings=True),
        "window": dict(use_sliding_window=True, sliding_window=7, max_window_layers=1),
        "types": dict(use_sliding_window=True, sliding_window=4, layer_types=[SLIDING, FULL, SLIDING]),
        "yarn": dict(rope_parameters=YARN),
    },
    "qwen3": {
        "plain": dict(head_dim=32), "odd": dict(ODD, attention_bias=True, tie_word_embeddings=True),
        "window": dict(head_dim=16, use_sliding_window=True, sliding_window=6, max_window_layers=2),
    },
    "gemma2": {
        "plain": dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=5), "odd": dict(ODD, sliding_window=9),
        "untied": dict(head_dim=32, query_pre_attn_scalar=20, tie_word_embeddings=False, attention_bias=True, sliding_window=3),
        "uncapped": dict(head_dim=16, attn_logit_softcapping=None, final_logit_softcapping=None, sliding_window=8),
    },
    "gemma3_text": {
        "eight": dict(head_dim=16, query_pre_attn_scalar=16, num_hidden_layers=8, sliding_window=5),
        "linear": dict(head_dim=16, query_pre_attn_scalar=16, num_hidden_layers=7, sliding_window=5,
                       rope_parameters={FULL: dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                                        SLIDING: dict(rope_type="default", rope_theta=1e4)}),
        "odd": dict(ODD, sliding_window=4, layer_types=[SLIDING, FULL, SLIDING]),
        "scaled": dict(head_dim=16, sliding_window=6, layer_types=[FULL, SLIDING, FULL], query_pre_attn_scalar=40,
                       final_logit_softcapping=20.0, tie_word_embeddings=False,
                       rope_parameters={FULL: dict(rope_type="linear", factor=8.0, rope_theta=1e6),
                                        SLIDING: dict(rope_type="default", rope_theta=5000.0)}),
    },
    "phi3": {
        "plain": {}, "window": dict(sliding_window=6, tie_word_embeddings=True),
        "partial": dict(partial_rotary_factor=0.75, hidden_size=96, head_dim=24),
        "longrope": dict(original_max_position_embeddings=64, rope_parameters=dict(rope_type="longrope",
                         rope_theta=10000.0, short_factor=[1 + 0.1 * i for i in range(8)],
                         long_factor=[2.0 + i for i in range(8)])),
        "odd": dict(hidden_size=80, intermediate_size=100, vocab_size=331, num_attention_heads=5,
                    num_key_value_heads=5), "head-dim": dict(head_dim=24),
    },
    "olmo2": {"odd": ODD, "bias-tied": dict(attention_bias=True, tie_word_embeddings=True),
              "mha": dict(num_key_value_heads=4)},
    "granite": {
        "scaled": dict(embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.4, attention_multiplier=0.1),
        "odd": dict(ODD, attention_bias=True, mlp_bias=True, tie_word_embeddings=True), "neutral": {},
    },
    "smollm3": {
        "default": dict(num_hidden_layers=5), "odd": dict(ODD, tie_word_embeddings=False, attention_bias=True),
        "listed": dict(no_rope_layers=[0, 1, 1], mlp_bias=True),
        "window": dict(use_sliding_window=True, sliding_window=5, no_rope_layer_interval=2),
    },
    "cohere2": {
        "default": dict(num_hidden_layers=5, sliding_window=6),
        "odd": dict({k: v for k, v in ODD.items() if k != "head_dim"}, sliding_window=3, logit_scale=0.7,
                    layer_types=[FULL, SLIDING, FULL]),
        "bias-untied": dict(attention_bias=True, tie_word_embeddings=False, sliding_window=8),
        "head-dim": dict(head_dim=24, sliding_window=8),
    },
    "glm4": {
        "plain": dict(head_dim=16), "odd": dict(ODD, attention_bias=False, tie_word_embeddings=True),
        "whole": dict(head_dim=32, rope_parameters=dict(rope_type="default", rope_theta=9000.0,
                                                        partial_rotary_factor=1.0)),
        "quarter": dict(head_dim=32, rope_parameters=dict(rope_type="default", rope_theta=9000.0,
                                                          partial_rotary_factor=0.25)),
    },
    "starcoder2": {
        "plain": {}, "odd": dict({k: v for k, v in ODD.items() if k != "head_dim"}, use_bias=False),
        "window-untied": dict(sliding_window=5, tie_word_embeddings=False), "gelu": dict(hidden_act="gelu"),
        "head-dim": dict(head_dim=24),
    },
    "gpt2": {
        "plain": GPT2, "odd": dict(GPT2, n_embd=60, n_head=5, vocab_size=331, n_inner=100, tie_word_embeddings=False),
        "by-layer": dict(GPT2, scale_attn_by_inverse_layer_idx=True, activation_function="relu"),
        "unscaled": dict(GPT2, scale_attn_weights=False, n_positions=64), "odd-head": dict(GPT2, n_embd=60),
        "bare": GPT2,
    },
    "mixtral": {
        "seven": dict(hidden_size=72, head_dim=24, num_local_experts=7, num_experts_per_tok=3, sliding_window=6),
        "one-of-two": dict(num_local_experts=2, num_experts_per_tok=1, tie_word_embeddings=True, hidden_act="gelu"),
        "all-yarn": dict(head_dim=16, num_local_experts=8, num_experts_per_tok=8, rope_parameters=YARN),
    },
    "qwen2_moe": {
        "plain": dict(num_experts=6, num_experts_per_tok=3, moe_intermediate_size=48, shared_expert_intermediate_size=56),
        "sparse": dict(num_hidden_layers=4, num_experts=6, num_experts_per_tok=4, moe_intermediate_size=40,
                       shared_expert_intermediate_size=56, norm_topk_prob=True, decoder_sparse_step=2),
        "window": dict(num_experts=5, num_experts_per_tok=2, moe_intermediate_size=36, mlp_only_layers=[0],
                       shared_expert_intermediate_size=51, qkv_bias=False, use_sliding_window=True, sliding_window=5,
                       max_window_layers=2),
    },
    "qwen3_moe": {
        "plain": dict(num_experts=8, num_experts_per_tok=3, moe_intermediate_size=48, norm_topk_prob=True),
        "unnormed": dict(num_experts=16, num_experts_per_tok=5, moe_intermediate_size=24, head_dim=32,
                         attention_bias=True, mlp_only_layers=[2]),
        "window": dict(num_experts=3, num_experts_per_tok=1, moe_intermediate_size=52, norm_topk_prob=True,
                       use_sliding_window=True, sliding_window=7, decoder_sparse_step=2),
    },
    "gpt_oss": {
        "yarn": dict(num_attention_heads=6, num_key_value_heads=3, head_dim=16, num_local_experts=5,
                     num_experts_per_tok=5, sliding_window=16, rope_parameters=dict(YARN, truncate=False)),
        "plain": dict(num_local_experts=6, num_experts_per_tok=3, head_dim=32, sliding_window=4, swiglu_limit=1.5,
                      swiglu_alpha=1.1, rope_parameters=dict(rope_type="default", rope_theta=5000.0),
                      layer_types=[FULL, SLIDING, SLIDING]),
    },
    "deepseek_v3": {
        "groups": dict(MLA, q_lora_rank=None, n_routed_experts=12, num_experts_per_tok=3, n_group=4, topk_group=2,
                       n_shared_experts=2, first_k_dense_replace=0, norm_topk_prob=False, routed_scaling_factor=1.7),
        "yarn": dict(MLA, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=1.0)),
        "half": dict(MLA, rope_interleave=False, attention_bias=True, first_k_dense_replace=2,
                     rope_parameters=dict(YARN, mscale=0.7, mscale_all_dim=1.2)),
        "wide": dict(MLA, kv_lora_rank=64, q_lora_rank=16, qk_rope_head_dim=32, v_head_dim=32, qk_nope_head_dim=32),
    },
}

# What GGUF, as llama.cpp defines the architecture or as its converter writes it, has no key for.
NOT_IN_GGUF = {
    "llama-gelu", "llama-relu", "llama-longrope", "llama-yarn-factor", "llama-yarn-mscale", "mistral-window-1",
    "mistral-odd-5", "mistral-head-dim-null", "qwen2-window", "qwen2-types", "qwen3-window", "gemma2-odd",
    "gemma2-untied", "gemma3_text-odd", "gemma3_text-scaled", "granite-odd", "smollm3-listed",
    "smollm3-window", "cohere2-odd", "starcoder2-window-untied", "starcoder2-gelu", "gpt2-odd", "gpt2-by-layer",
    "gpt2-unscaled", "gpt2-bare", "cohere2-head-dim", "starcoder2-head-dim", "phi3-head-dim",
    "mixtral-seven", "mixtral-one-of-two", "qwen2_moe-sparse", "qwen2_moe-window", "qwen3_moe-unnormed",
    "qwen3_moe-window", "gpt_oss-plain", "deepseek_v3-half",
}


def random_model(model_type, options, seed):
    config = transformers.AutoConfig.for_model(model_type, **({} if model_type == "gpt2" else BASE) | options)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    is_offset = model_type.startswith("gemma")
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.normal_(0, 0.12)
            elif name.endswith("bias"):
                value.normal_(0, 0.1)
            else:
                value.normal_(0 if is_offset else 1, 0.15)
        for name, value in model.named_buffers():
            if name.endswith("correction_bias"):
                value.normal_(0, 0.3)
    return model


def write_expected(model, folder, seed):
    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (1, 48), generator=generator)
    with torch.no_grad():
        logits = model(ids).logits.float()
        greedy = ids[:, :9]
        for _ in range(24):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1].argmax(-1, keepdim=True)], 1)
    save_file({"input_ids": ids, "logits": logits.contiguous(), "greedy_from_9": greedy.contiguous()},
              folder / "expected.safetensors")


def strip_prefix(file, prefix, config):
    """As the oldest GPT-2 checkpoints are: names without the model's, and causal masks among the tensors."""
    tensors = {name.removeprefix(prefix): value for name, value in load_file(file).items()}
    for layer in range(config.n_layer):
        mask = torch.ones(config.n_positions, config.n_positions).tril()[None, None]
        tensors |= {f"h.{layer}.attn.bias": mask.clone(), f"h.{layer}.attn.masked_bias": torch.tensor(-1e4)}
    save_file(tensors, file, {"format": "pt"})


def convert(llama_cpp, source, target):
    """By the checkout's own classes, with a vocabulary of numbers in the place of the missing tokenizer."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import gguf
    from conversion import get_model_class
    from conversion.base import ModelBase, ModelType

    hparams = ModelBase.load_hparams(source, False)
    config = json.loads((source / "config.json").read_text())
    model_class = get_model_class(config["architectures"][0])

    class Converter(model_class):
        model_arch = model_class.model_arch

        def set_vocab(self):
            tokens = [f"<{i}>".encode() for i in range(config["vocab_size"])]
            self.gguf_writer.add_tokenizer_model("gpt2")
            self.gguf_writer.add_tokenizer_pre("gpt-2")
            self.gguf_writer.add_token_list(tokens)
            self.gguf_writer.add_token_types([1] * len(tokens))
            self.gguf_writer.add_token_merges([])
            self.gguf_writer.add_eos_token_id(2)

    # Members that the converter wants and transformers no longer writes.
    missing = {"gpt2": {"n_ctx": config.get("n_positions")}, "cohere2": {"rotary_pct": 1.0}}
    tokenizer = source / "tokenizer.json"  # of which gemma3's converter counts the entries
    entries = {f"<{i}>": i for i in range(config["vocab_size"])}
    tokenizer.write_text(json.dumps({"model": {"vocab": entries}, "added_tokens": []}))
    converter = Converter(source, gguf.LlamaFileType.ALL_F32, target, hparams=dict(hparams, **missing.get(
        config["model_type"], {})))
    converter.write()
    tokenizer.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    for model_type, variants in VARIANTS.items():
        for variant, options in variants.items():
            name = f"{model_type}-{variant}"
            if arguments.only not in name:
                continue
            folder = arguments.out / name
            folder.mkdir(parents=True, exist_ok=True)
            seed = sum(name.encode())
            model = random_model(model_type, options, seed)
            model.save_pretrained(folder)
            if variant == "bare":
                strip_prefix(folder / "model.safetensors", "transformer.", config=model.config)
            write_expected(model, folder, seed)
            print(name, flush=True)
            if arguments.gguf is None or name in NOT_IN_GGUF:
                continue
            target = arguments.out / f"{name}-gguf"
            target.mkdir(exist_ok=True)
            try:
                convert(arguments.gguf, folder, target / "model.gguf")
                os.replace(folder / "expected.safetensors", target / "expected.safetensors")
                write_expected(model, folder, seed)
            except Exception as error:  # what llama.cpp does not define
                print(f"{name}: no GGUF: {error!r}", flush=True)
                for file in target.iterdir():
                    file.unlink()
                target.rmdir()


main()
