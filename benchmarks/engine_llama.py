"""`python -m benchmarks.engine_llama WORKLOAD`: llama.cpp on a GGUF file, step by step; one line of JSON comes out.

Run by the environment that peers.py keeps for it. It is driven by llama.cpp's own batches: one token of each sequence a
step, as its server does with parallel slots.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import llama_cpp

from benchmarks.workload import Workload, drive, report

CONTEXT_TOKENS = 2048
BATCH_TOKENS = 512


class Batches:
    """A context with one stream of keys and values for each sequence."""

    def __init__(self, workload: Workload) -> None:
        llama_cpp.llama_backend_init()
        silent = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(silent, ctypes.c_void_p())
        self._silent = silent
        self._model = llama_cpp.llama_model_load_from_file(
            workload.model.encode(), llama_cpp.llama_model_default_params()
        )
        # It is silent, and what is not there would crash the next call.
        if not self._model:
            raise RuntimeError(f"{workload.model}: llama.cpp cannot read it")
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = CONTEXT_TOKENS * max(1, workload.sequences // 4)
        options.n_seq_max = workload.sequences
        options.n_batch = options.n_ubatch = BATCH_TOKENS
        options.n_threads = options.n_threads_batch = workload.threads
        options.kv_unified = False
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        self._batch = llama_cpp.llama_batch_init(BATCH_TOKENS, 0, 1)
        self._lengths = [0] * workload.sequences

    def prefill(self, sequence: int, tokens: list[int]) -> None:
        for start in range(0, len(tokens), BATCH_TOKENS):
            part = tokens[start : start + BATCH_TOKENS]
            wants = [start + index + 1 == len(tokens) for index in range(len(part))]
            self._step([(sequence, token, want) for token, want in zip(part, wants, strict=True)])

    def decode(self, tokens: list[int]) -> None:
        self._step([(sequence, token, True) for sequence, token in enumerate(tokens)])

    def forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        self._lengths = [0] * len(self._lengths)

    def _step(self, rows: list[tuple[int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(rows)
        for index, (sequence, token, wants_scores) in enumerate(rows):
            batch.token[index] = token
            batch.pos[index] = self._lengths[sequence]
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = sequence
            batch.logits[index] = wants_scores
            self._lengths[sequence] += 1
        if status := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode: status {status}")
        # It computes beside us until someone asks for the result.
        llama_cpp.llama_get_logits_ith(self._context, len(rows) - 1) if rows[-1][2] else None
        llama_cpp.llama_synchronize(self._context)


def load(workload: Workload) -> Callable[[], dict[str, Any]]:
    """Load the file, and give what runs it."""
    batches = Batches(workload)
    return lambda: drive(workload, batches)


if __name__ == "__main__":
    given = Workload.from_arguments()
    report(f"llama-cpp-python {llama_cpp.__version__}", lambda: load(given))
