"""Random blocks of every GGUF format and the values that the Python package gguf (0.19.0, numpy 2.4) gives them.

    python make_gguf_blocks.py [WEIGHTS [SEED]] > gguf_blocks.txt

One line a format: name, the blocks' bytes, the values' f32 bits, both little-endian hex. WEIGHTS a format, 512 by default.
Every byte is random but for f16 scales, which are made finite; some are subnormal, zero or negative.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

# Byte offsets of the f16 in a block.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [],
}

weights = int(sys.argv[1]) if len(sys.argv) > 1 else 512
random = np.random.default_rng(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
for name, halves in HALVES.items():
    kind = GGMLQuantizationType[name]
    block_weights, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (weights // block_weights, block_bytes), dtype=np.uint8)
    for at in halves:
        words = random.integers(0, 1 << 16, len(blocks), dtype=np.uint16)
        words[(words & 0x7C00) == 0x7C00] &= 0x83FF
        words[::37] &= 0x8000
        blocks[:, at : at + 2] = words.view(np.uint8).reshape(-1, 2)
    with np.errstate(over="ignore"):
        values = dequantize(blocks, kind).astype("<f4")
    print(name, blocks.tobytes().hex(), values.tobytes().hex())
