"""`python -m benchmarks.engine_openvino WORKLOAD`: OpenVINO GenAI on an exported int8 model; JSON comes out.

Run by the environment that peers.py keeps for it. One sequence goes through its pipeline for one, several through its
continuous batching, as its makers advise.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import openvino_genai

from benchmarks.workload import WARM_UP_TOKENS, Workload, report, speeds

CACHE_GIB = 1


class Clock(openvino_genai.StreamerBase):  # type: ignore[misc]
    """Notes when tokens come; of several sequences together it is told nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def write(self, token: int | list[int]) -> openvino_genai.StreamingStatus:
        new = len(token) if isinstance(token, list) else 1
        self.ends += [time.perf_counter()] * new
        return openvino_genai.StreamingStatus.RUNNING

    def end(self) -> None:
        """Nothing is held back."""


def load(workload: Workload) -> Callable[[], dict[str, Any]]:
    """Compile the exported model, and give what runs it."""
    if workload.sequences == 1:
        pipeline = openvino_genai.LLMPipeline(workload.model, "CPU", INFERENCE_NUM_THREADS=workload.threads)
        return lambda: measure_one(workload, pipeline)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size, scheduler.max_num_seqs = CACHE_GIB, workload.sequences
    scheduler.enable_prefix_caching = False
    properties = {"INFERENCE_NUM_THREADS": workload.threads}
    batching = openvino_genai.ContinuousBatchingPipeline(workload.model, scheduler, "CPU", properties)
    return lambda: measure_many(workload, batching)


def measure_one(workload: Workload, pipeline: Any) -> dict[str, Any]:
    """Time the first token, which is the prompt's, and those after it."""
    (prompt,) = workload.prompts()
    # Not the same tokens: it keeps the keys and values of prompts.
    pipeline.generate(openvino.Tensor(np.array([prompt[:128]]) + 1), options(WARM_UP_TOKENS))
    clock, began = Clock(), time.perf_counter()
    pipeline.generate(openvino.Tensor(np.array([prompt])), options(workload.tokens + 1), clock)
    return speeds(workload, clock.ends[0] - began, clock.ends[-1] - clock.ends[0])


def measure_many(workload: Workload, pipeline: Any) -> dict[str, Any]:
    """Time one more token for each prompt, then all tokens: the difference is decoding."""
    prompts = [openvino.Tensor(np.array([prompt])) for prompt in workload.prompts()]

    def seconds(tokens: int) -> float:
        began = time.perf_counter()
        pipeline.generate(prompts, [options(tokens)] * len(prompts))
        return time.perf_counter() - began

    seconds(WARM_UP_TOKENS)
    first = seconds(1)
    return speeds(workload, first, seconds(workload.tokens + 1) - first)


def options(tokens: int) -> Any:
    """Greedy, and exactly so many tokens."""
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens, config.ignore_eos, config.do_sample = tokens, True, False
    return config


if __name__ == "__main__":
    given = Workload.from_arguments()
    report(f"OpenVINO GenAI {openvino_genai.get_version()}", lambda: load(given))
