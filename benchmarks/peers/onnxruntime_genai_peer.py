"""onnxruntime-genai behind the harness's line protocol (see benchmarks/line-peer.ts): a static batch through its Generator.

Start: onnxruntime_genai_peer.py FOLDER THREADS. In: {"prompts": [[ids]], "outputTokens": n}. Out: prefill and decode seconds,
where prefill ends when every sequence has its first token. A batch cannot take a prompt while it runs, so a request with
"late" is answered with an error.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import onnxruntime_genai as og


def run(model, request):
    if "late" in request:
        return {"error": "a static batch takes no prompt while it runs"}
    prompts, num_tokens = request["prompts"], request["outputTokens"]
    params = og.GeneratorParams(model)
    length = len(prompts[0]) + num_tokens
    # min_length keeps it going past end-of-sequence tokens.
    params.set_search_options(max_length=length, min_length=length, batch_size=len(prompts), do_sample=False)
    generator = og.Generator(model, params)
    start = time.perf_counter()
    generator.append_tokens(np.array(prompts, dtype=np.int32))
    generator.generate_next_token()
    first = time.perf_counter()
    for _ in range(num_tokens - 1):
        generator.generate_next_token()
    end = time.perf_counter()
    count = len(prompts) * (num_tokens - 1)
    return {"prefillSeconds": first - start, "decodeSeconds": end - first, "decodeTokens": count}


def main():
    folder, threads = sys.argv[1], int(sys.argv[2])
    config = og.Config(folder)
    options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
    model = og.Model(config)
    print(json.dumps({"ready": True, "version": f"onnxruntime-genai {version('onnxruntime-genai')}"}), flush=True)
    for line in sys.stdin:
        try:
            answer = run(model, json.loads(line))
        except RuntimeError as error:  # a shape beyond its limits, such as a batch of 64
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
