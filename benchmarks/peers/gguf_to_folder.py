"""Writes the weights of a GGUF file of a llama model as a Hugging Face folder of f32, for onnxruntime-genai's builder.

Start: gguf_to_folder.py MODEL.gguf FOLDER. Needs torch, transformers and gguf. transformers marks what it read from GGUF as
quantized and refuses to save it, so the values are copied into a plain model first.
"""

import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM


def main():
    path, folder = sys.argv[1:]
    where, name = os.path.split(os.path.abspath(path))
    read = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    fields = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    plain = LlamaForCausalLM(LlamaConfig(**fields))
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)


main()
