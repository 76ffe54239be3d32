"""`python -m benchmarks.engine_compiled WORKLOAD HOW`: transformers' forward, eager or compiled; JSON comes out.

HOW is `eager`, or the mode for torch.compile, with a cache of one length (transformers' StaticCache), as its makers
advise: a cache that grows would be compiled anew.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from benchmarks.workload import Workload, drive, report

CACHE_STEP = 256


class Forward:
    """One sequence; the prompt runs eager, one token at a time runs compiled."""

    def __init__(self, workload: Workload, how: str) -> None:
        torch.set_num_threads(workload.threads)
        self._network: Any = transformers.AutoModelForCausalLM.from_pretrained(
            workload.model, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        ).eval()
        self._room = -(-(workload.context + workload.tokens) // CACHE_STEP) * CACHE_STEP
        self._is_static = how != "eager"
        self._step = torch.compile(self._network, mode=how, fullgraph=True) if self._is_static else self._network
        self.first_s = self.first_cpu_s = 0.0
        self.forget()

    def forget(self) -> None:
        config = self._network.config
        static = transformers.StaticCache(config=config, max_cache_len=self._room) if self._is_static else None
        self._cache = static or transformers.DynamicCache(config=config)
        self._length = 0

    def prefill(self, sequence: int, tokens: list[int]) -> None:
        assert sequence == 0, "one sequence alone"
        self._feed(self._network, tokens)

    def decode(self, tokens: list[int]) -> None:
        began, worked = time.perf_counter(), cpu_s()
        self._feed(self._step, tokens)
        if not self.first_s:
            self.first_s, self.first_cpu_s = time.perf_counter() - began, cpu_s() - worked

    @torch.inference_mode()
    def _feed(self, network: Any, tokens: list[int]) -> None:
        places = torch.arange(self._length, self._length + len(tokens))[None]
        ids = torch.tensor([tokens])
        network(input_ids=ids, position_ids=places, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        self._length += len(tokens)


def load(workload: Workload, how: str) -> Callable[[], dict[str, Any]]:
    """Load the weights, and give what runs them; with the seconds of the first step, which compiles."""
    forward = Forward(workload, how)

    def run() -> dict[str, Any]:
        return drive(workload, forward) | {"first_step_s": forward.first_s, "first_step_cpu_s": forward.first_cpu_s}

    return run


def cpu_s() -> float:
    """Return the processor time of this process, and of the compilers it called."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    given = Workload.from_arguments()
    report(f"torch {torch.__version__}", lambda: load(given, sys.argv[2]))
