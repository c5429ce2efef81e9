"""Writes tiny models with adapters that PEFT itself saved, and the logits that transformers with PEFT computes.

    python test/support/make_peft_adapters.py FOLDER

FOLDER/KIND/base, FOLDER/KIND/adapter and FOLDER/KIND/expected.json (promptIds, logits of the last row, base and adapter,
and the greedy continuations). INGOT_TEST_PEFT=FOLDER then lets test/golden/peft.test.ts compare. Needs torch, transformers, peft.
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

SIZES = dict(
    vocab_size=96, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=False, pad_token_id=0,
    bos_token_id=1, eos_token_id=2,
)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "llama": (LlamaConfig(head_dim=16, **SIZES), dict(r=8, lora_alpha=16, target_modules=ALL)),
    "rslora": (LlamaConfig(head_dim=16, **SIZES), dict(r=4, lora_alpha=3, use_rslora=True, target_modules=ALL)),
    "patterns": (
        LlamaConfig(head_dim=16, **SIZES),
        dict(
            r=4, lora_alpha=8, target_modules=ALL,
            rank_pattern={"down_proj": 7, "^model.layers.1.self_attn.q_proj": 2},
            alpha_pattern={"mlp.up_proj": 20, "layers.0.self_attn.k_proj": 1},
        ),
    ),
    "qwen2": (Qwen2Config(**SIZES), dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"])),
    "qwen3": (Qwen3Config(head_dim=16, **SIZES), dict(r=5, lora_alpha=5, target_modules="all-linear")),
    "phi3": (
        Phi3Config(**SIZES),
        dict(r=4, lora_alpha=8, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
    ),
}
PROMPT = [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41]


def greedy(model):
    ids = list(PROMPT)
    with torch.no_grad():
        for _ in range(10):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(PROMPT) :]


def last_row(model):
    with torch.no_grad():
        return model(torch.tensor([PROMPT])).logits[0, -1].tolist()


def main(root):
    for kind, (config, lora) in KINDS.items():
        torch.manual_seed(7)
        base = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
        for parameter in base.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.15)
        folder = root / kind
        base.save_pretrained(folder / "base")
        expected = {"promptIds": PROMPT, "base": last_row(base)}
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", bias="none", **lora)).eval()
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.15)
        model.save_pretrained(folder / "adapter")
        expected |= {"adapter": last_row(model), "greedy": greedy(model)}
        (folder / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
