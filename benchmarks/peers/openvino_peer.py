"""OpenVINO GenAI behind the harness's line protocol: one JSON object a line in, one out (see benchmarks/line-peer.ts).

Start: openvino_peer.py MODEL.gguf THREADS. In: {"prompts": [[ids]], "outputTokens": n}. Out: prefill and decode seconds,
where prefill ends when every sequence has its first token, and decode is the rest.
"""

import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai


def run(pipeline, request, next_id):
    config = genai.GenerationConfig()
    config.max_new_tokens = request["outputTokens"]
    config.ignore_eos = True
    config.do_sample = False
    handles = [
        pipeline.add_request(next_id + index, ov.Tensor(np.array([ids], dtype=np.int64)), config)
        for index, ids in enumerate(request["prompts"])
    ]
    counts = [0] * len(handles)
    start = time.perf_counter()
    first = None
    while pipeline.has_non_finished_requests():
        pipeline.step()
        for index, handle in enumerate(handles):
            if handle.can_read():
                counts[index] += sum(len(o.generated_ids) for o in handle.read().values())
        if first is None and all(counts):
            first, at_first = time.perf_counter(), sum(counts)
    end = time.perf_counter()
    first = first or end
    return {"prefillSeconds": first - start, "decodeSeconds": end - first, "decodeTokens": sum(counts) - at_first}


def main():
    model, threads = sys.argv[1], int(sys.argv[2])
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 2
    scheduler.max_num_batched_tokens = 512
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {}, {"INFERENCE_NUM_THREADS": threads})
    print(json.dumps({"ready": True, "version": f"openvino-genai {genai.get_version()}"}), flush=True)
    next_id = 0
    for line in sys.stdin:
        request = json.loads(line)
        result = run(pipeline, request, next_id)
        next_id += len(request["prompts"])
        print(json.dumps(result), flush=True)


main()
