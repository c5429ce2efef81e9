"""OpenVINO GenAI behind the harness's line protocol: one JSON object a line in, one out (see benchmarks/line-peer.ts).

Start: openvino_peer.py MODEL.gguf THREADS. In: {"prompts": [[ids]], "outputTokens": n}, and "late": [[ids]] for prompts that
are added when every sequence has its first token. Out: prefill and decode seconds, where prefill ends when every sequence of
"prompts" has its first token, and decode is the rest.
"""

import json
import sys
import time

import numpy as np
import openvino as ov
import openvino_genai as genai


class Batch:
    def __init__(self, pipeline, next_id):
        self.pipeline, self.next_id, self.handles = pipeline, next_id, []
        self.counts = []

    def add(self, prompts, num_tokens):
        config = genai.GenerationConfig()
        config.max_new_tokens = num_tokens
        config.ignore_eos = True
        config.do_sample = False
        for ids in prompts:
            tensor = ov.Tensor(np.array([ids], dtype=np.int64))
            self.handles.append(self.pipeline.add_request(self.next_id, tensor, config))
            self.counts.append(0)
            self.next_id += 1

    def step(self):
        self.pipeline.step()
        for index, handle in enumerate(self.handles):
            if handle.can_read():
                self.counts[index] += sum(len(o.generated_ids) for o in handle.read().values())


def run(pipeline, request, next_id):
    batch = Batch(pipeline, next_id)
    batch.add(request["prompts"], request["outputTokens"])
    start = time.perf_counter()
    first = None
    while pipeline.has_non_finished_requests():
        batch.step()
        if first is None and all(batch.counts):
            first, at_first = time.perf_counter(), sum(batch.counts)
            batch.add(request.get("late", []), 1)
    end = time.perf_counter()
    tokens = sum(batch.counts) - at_first
    return {"prefillSeconds": first - start, "decodeSeconds": end - first, "decodeTokens": tokens}


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
        next_id += len(request["prompts"]) + len(request.get("late", []))
        print(json.dumps(result), flush=True)


main()
