"""What the service is doing now: the engine's /metrics and the web's own counters come in, a few numbers go out.

Our engine has vLLM's names; llama-server has names of its own, and a gateway mostly none at all. What a server does not
tell is missing from the result, which the page shows as unknown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from service.config import Config
from service.web.engine_client import EngineAway, EngineClient, Health
from service.web.metrics import Metrics

# vLLM's, which are ours, its older ones, and llama-server's (tools/server/README.md).
NAMES: Mapping[str, tuple[str, ...]] = {
    "running": ("vllm:num_requests_running", "llamacpp:requests_processing"),
    "waiting": ("vllm:num_requests_waiting", "llamacpp:requests_deferred"),
    "answer_tokens": ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total"),
    "prompt_tokens": ("vllm:prompt_tokens_total", "llamacpp:prompt_tokens_total"),
    "cache_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "llamacpp:kv_cache_usage_ratio"),
    "cache_queries": ("vllm:prefix_cache_queries_total",),
    "cache_hits": ("vllm:prefix_cache_hits_total",),
    "first_token_s": ("vllm:time_to_first_token_seconds_sum",),
    "first_tokens": ("vllm:time_to_first_token_seconds_count",),
    "memory_bytes": ("process_resident_memory_bytes",),
    "memory_available_bytes": ("ferry_memory_available_bytes",),
}
SAMPLE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{.*\})? ([^ \n]+)(?: \d+)?$", re.MULTILINE)


def now(config: Config, engine: EngineClient, metrics: Metrics) -> dict[str, Any]:
    """Ask everybody. Counters are as they stand: whoever asks twice knows what came in between."""
    health = engine.health()
    values = metrics.values()
    return {
        "time": time.time(),
        "engine": {**_told(engine, health), "is_local": engine.is_local},
        "web": {name: values.get(f"ferry_web_{name}", 0) for name in ("streams", "workers", "memory_bytes")},
        "limits": {
            "slots": config.engine.slots if engine.is_local else None,
            "queue": config.queue.total if engine.is_local else None,
            "context_tokens": config.engine.context_tokens if engine.is_local else None,
        },
    }


def _told(engine: EngineClient, health: Health) -> dict[str, Any]:
    head = {"ready": health.is_ready, "reason": health.reason, "model": health.model}
    try:
        return {**head, **numbers(engine.metrics())}
    except EngineAway:
        return head


def numbers(text: str) -> dict[str, float]:
    """Read the numbers that we know of from Prometheus' text format; one with several labels is added up."""
    sums: dict[str, float] = {}
    for name, value in SAMPLE.findall(text):
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            continue
    found = {}
    for ours, theirs in NAMES.items():
        known = [sums[name] for name in theirs if name in sums and abs(sums[name]) < 1e18]
        if known:
            found[ours] = known[0]
    return found
