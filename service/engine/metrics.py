"""Counters come in, Prometheus' text format goes out, under the names vLLM gives them so that its dashboards fit."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.engine.memory import available_bytes

# vLLM's own buckets (vllm/v1/metrics/loggers.py).
FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
INTER_TOKEN_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
# Ours: the slot is to be free within a second.
CANCEL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)


class Histogram:
    """How often a time lay within each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """Yield suffix, label and value; each bucket counts those below it too."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), tuple(self._counts), strict=True):
            total += count
            yield "_bucket", f'le="{bound}"', total
        yield "_sum", "", self._sum
        yield "_count", "", total


@dataclass
class Metrics:
    """What /metrics shows; written by the decoder's thread alone."""

    finished: Counter[str] = field(default_factory=lambda: Counter(stop=0, length=0))
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0
    kv_cache_usage: float = 0.0
    first_token_s: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_S))
    inter_token_s: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_S))
    queue_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    answer_s: Histogram = field(default_factory=lambda: Histogram(REQUEST_S))
    cancel_s: Histogram = field(default_factory=lambda: Histogram(CANCEL_S))


def render(model: str, running: int, waiting: int, metrics: Metrics) -> str:
    """Write the lines of /metrics."""
    name = f'model_name="{_escape(model)}"'
    return "".join([*_simple(name, running, waiting, metrics), *_reasons(name, metrics), *_histograms(name, metrics)])


def _simple(label: str, running: int, waiting: int, metrics: Metrics) -> Iterator[str]:
    rows: tuple[tuple[str, str, str, float], ...] = (
        ("num_requests_running", "gauge", "Requests being decoded.", running),
        ("num_requests_waiting", "gauge", "Requests in the queue.", waiting),
        ("kv_cache_usage_perc", "gauge", "Pages of keys and values in use, 1 being all.", metrics.kv_cache_usage),
        ("prompt_tokens_total", "counter", "Tokens of prompts.", metrics.prompt_tokens),
        ("generation_tokens_total", "counter", "Tokens written.", metrics.generation_tokens),
        ("prefix_cache_queries_total", "counter", "Tokens looked up in caches.", metrics.prefix_cache_queries),
        ("prefix_cache_hits_total", "counter", "Tokens found in caches.", metrics.prefix_cache_hits),
        ("request_cancelled_total", "counter", "Answers that nobody waited for.", metrics.cancelled),
        ("request_failure_total", "counter", "Answers that failed.", metrics.failed),
    )
    for name, kind, text, value in rows:
        yield f"{_head(name, kind, text)}vllm:{name}{{{label}}} {value}\n"


def _reasons(label: str, metrics: Metrics) -> Iterator[str]:
    yield _head("request_success_total", "counter", "Answers that ended by themselves, each choice for itself.")
    for reason, count in tuple(metrics.finished.items()):
        yield f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {count}\n'


def _histograms(label: str, metrics: Metrics) -> Iterator[str]:
    rows = (
        ("time_to_first_token_seconds", "From a request's arrival to its first token.", metrics.first_token_s),
        ("inter_token_latency_seconds", "From one token of an answer to the next.", metrics.inter_token_s),
        ("request_queue_time_seconds", "From a request's arrival to a slot.", metrics.queue_s),
        ("e2e_request_latency_seconds", "From a request's arrival to the end of its answer.", metrics.answer_s),
        ("request_cancel_latency_seconds", "From a client's leaving to a free slot.", metrics.cancel_s),
    )
    for name, text, histogram in rows:
        yield _head(name, "histogram", text)
        for suffix, bound, value in histogram.samples():
            labels = f"{label},{bound}" if bound else label
            yield f"vllm:{name}{suffix}{{{labels}}} {value}\n"


def render_memory() -> str:
    """Write what this process has in memory, under the name of Prometheus' own clients, and what it may still take."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return (
        "# HELP process_resident_memory_bytes Memory in use by the engine.\n"
        f"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {resident}\n"
        "# HELP ferry_memory_available_bytes Memory that the engine may still take.\n"
        f"# TYPE ferry_memory_available_bytes gauge\nferry_memory_available_bytes {available_bytes()}\n"
    )


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
