"""Does the engine's memory grow? 500 requests, half of whose clients vanish at random moments; the slope of RssAnon.

RssAnon is the memory that the engine's process holds itself, without file pages. The slope is a least-squares line
over the samples after the first requests, beside the error of that slope: zero within noise is what is asked for.
"""

import asyncio
import os
import random
from datetime import datetime, timezone
from typing import Any

import numpy as np

from benchmarks import engine_models
from benchmarks.clock import machine, record
from benchmarks.engine_served import served
from benchmarks.http_load import Load, Seen
from benchmarks.workload import memory
from tests.engine_process import EngineProcess

REQUESTS = int(os.environ.get("BENCH_REQUESTS", "500"))
PRECISION, THREADS, SLOTS, CLIENTS = "float32", 2, 2, 6
# A prompt's words, an answer's tokens, and when a client that vanishes does.
WORDS, TOKENS, GONE_S = (5, 150), (4, 40), (0.0, 2.0)
WARM_UP = 0.2


def main() -> None:
    """Measure, print the figures, and record them."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    with served(engine_models.folder(engine_models.REAL), PRECISION, THREADS, SLOTS) as (engine, _):
        seen, samples = asyncio.run(_run(engine))
    report |= {"requests": REQUESTS, **summary(seen), **slope(samples), "samples": samples}
    record(report, "cancels")
    print(render(report))


async def _run(engine: EngineProcess) -> tuple[list[Seen], list[tuple[int, int]]]:
    """Let some clients ask one thing after another; note the memory after each request."""
    assert engine.process
    load, chosen, pid = Load(engine), random.Random(0), engine.process.pid
    seen: list[Seen] = []
    samples: list[tuple[int, int]] = []
    numbers = iter(range(REQUESTS))

    async def client(user: str) -> None:
        # All clients take from one list: who is quick asks more.
        for _ in numbers:
            prompt = " ".join(str(chosen.randrange(1000)) for _ in range(chosen.randint(*WORDS)))
            gone_after_s = chosen.uniform(*GONE_S) if chosen.random() < 0.5 else None
            seen.append(await load.ask(user, prompt, chosen.randint(*TOKENS), gone_after_s))
            samples.append((len(seen), memory(pid)["RssAnon"]))

    await asyncio.gather(*(client(f"user {number}") for number in range(CLIENTS)))
    await load.close()
    return seen, samples


def summary(seen: list[Seen]) -> dict[str, int]:
    """Count how the requests ended."""
    return {
        "answered": sum(one.is_whole for one in seen),
        "cancelled": sum(one.is_cancelled for one in seen),
        "cancelled before a word": sum(one.is_cancelled and one.first_s is None for one in seen),
        "refused": sum(one.status == 429 for one in seen),
        "failed": sum(not one.is_whole and not one.is_cancelled and one.status != 429 for one in seen),
    }


def slope(samples: list[tuple[int, int]]) -> dict[str, float]:
    """Return bytes a request, and the standard error of that figure. Source: ordinary least squares."""
    kept = np.array(samples[int(len(samples) * WARM_UP) :], np.float64)
    x, y = kept[:, 0] - kept[:, 0].mean(), kept[:, 1] - kept[:, 1].mean()
    rise = float((x * y).sum() / (x * x).sum())
    error = float(np.sqrt(((y - rise * x) ** 2).sum() / max(1, len(x) - 2) / (x * x).sum()))
    return {"slope_bytes": rise, "slope_error_bytes": error, "first_bytes": kept[0, 1], "last_bytes": kept[-1, 1]}


def render(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    counts = ", ".join(f"{report[name]} {name}" for name in summary([]))
    return "\n".join(
        [
            f"{report['requests']} requests: {counts}",
            f"RssAnon: {report['first_bytes'] / 1e6:.1f} MB after the first {WARM_UP:.0%}, "
            f"{report['last_bytes'] / 1e6:.1f} MB at the end",
            f"slope: {report['slope_bytes'] / 1e3:.2f} ± {report['slope_error_bytes'] / 1e3:.2f} kB a request "
            "(one standard error; needed: 0 within noise)",
        ]
    )
