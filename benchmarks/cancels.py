"""500 requests, half of whose clients vanish at random moments: what that does to the memory, and to the others.

RssAnon is the memory that the engine's process holds itself, without file pages. Its slope is a least-squares line
over the samples after the first requests: zero within noise is what is asked for. Memory moves in steps that stay, so
samples are not independent, and least squares tells too small an error: beside it stands that of the mean of ten
stretches' rises. Quick requests go before and are not counted. They are there for the tokenizer, whose threads keep
buffers for texts of every length: by itself it took 284 kB more from its 2,000th text of this kind to its 4,000th,
44 kB to its 8,000th, and nothing to its 20,000th.

How soon a slot was free is what the engine counts; each answer that reached its end is asked for again, alone.
"""

import asyncio
import os
import random
import re
from collections.abc import Callable, Iterator
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
SIZES, GONE_S = ((5, 150), (4, 40)), (0.0, 1.0)
# So many times as many quick ones go before: of such prompts too, but of answers that are soon over.
QUICK, QUICK_TOKENS = 8, (2, 6)
WARM_UP, STRETCHES = 0.2, 10
FREE_WITHIN_S = "1.0"
LATENCY = "vllm:request_cancel_latency_seconds"

# A prompt, and how many tokens its answer may have.
Asked = tuple[str, int]
Questions = Callable[[random.Random], Iterator[Asked]]


def main() -> None:
    """Measure, print the figures, and record them."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    with served(engine_models.folder(engine_models.REAL), PRECISION, THREADS, SLOTS) as (engine, _):
        seen, samples, found = asyncio.run(_run(engine))
    report |= {"requests": REQUESTS, **summary(seen), **slope(samples), **found, "samples": samples}
    record(report, "cancels")
    print(render(report))


async def _run(engine: EngineProcess) -> tuple[list[Seen], list[tuple[int, int]], dict[str, int]]:
    """Ask quickly, then at length; see what became of the latter. What the engine counts, it counts of both."""
    assert engine.process
    load, chosen, pid = Load(engine), random.Random(0), engine.process.pid
    _, before, _ = await _ask_all(load, pid, chosen, QUICK * REQUESTS, quick)
    asked, seen, samples = await _ask_all(load, pid, chosen, REQUESTS, at_length)
    freed = _freed(await load.metrics())
    other = await _other_than_alone(load, asked, seen)
    quickly = {"cancelled of the quick ones": summary(before)["cancelled"]}
    return seen, samples, {**quickly, **freed, "other than alone": other}


def quick(chosen: random.Random) -> Iterator[Asked]:
    """Yield prompts of one client that grow by a word, so that the engine has nearly all of each in its cache."""
    least, most = SIZES[0]
    while True:
        words = _words(chosen, most)
        for count in range(least, most + 1):
            yield " ".join(words[:count]), chosen.randint(*QUICK_TOKENS)


def at_length(chosen: random.Random) -> Iterator[Asked]:
    """Yield prompts that have nothing in common."""
    words, tokens = SIZES
    while True:
        yield " ".join(_words(chosen, chosen.randint(*words))), chosen.randint(*tokens)


def _words(chosen: random.Random, count: int) -> list[str]:
    return [str(chosen.randrange(1000)) for _ in range(count)]


async def _ask_all(
    load: Load, pid: int, chosen: random.Random, count: int, questions: Questions
) -> tuple[list[Asked], list[Seen], list[tuple[int, int]]]:
    """Let some clients ask one thing after another; note the memory after each request."""
    asked: list[Asked] = []
    seen: list[Seen] = []
    samples: list[tuple[int, int]] = []
    numbers = iter(range(count))

    async def client(user: str) -> None:
        # All clients take from one list: who is quick asks more.
        for _, (prompt, tokens) in zip(numbers, questions(chosen), strict=False):
            one = await load.ask(user, prompt, tokens, **leaving(chosen, tokens))
            asked.append((prompt, tokens))
            seen.append(one)
            samples.append((len(seen), memory(pid)["RssAnon"]))

    await asyncio.gather(*(client(f"user {number}") for number in range(CLIENTS)))
    return asked, seen, samples


def leaving(chosen: random.Random, tokens: int) -> dict[str, Any]:
    """Decide whether a client vanishes, and when: while it waits or its prompt is read, or while its answer grows."""
    kind = chosen.choice(("stays", "stays", "by the clock", "by the text"))
    if kind == "by the clock":
        return {"gone_after_s": chosen.uniform(*GONE_S)}
    return {"gone_after_pieces": chosen.randint(1, tokens - 1)} if kind == "by the text" else {}


def _freed(metrics: str) -> dict[str, int]:
    """Return how many slots became free after their client had left, and how many of them within a second."""
    within = re.search(rf'^{LATENCY}_bucket{{.*le="{FREE_WITHIN_S}"}} (\d+)', metrics, re.MULTILINE)
    total = re.search(rf"^{LATENCY}_count.* (\d+)", metrics, re.MULTILINE)
    assert within and total, "the engine counts no cancelled requests"
    return {"freed": int(total[1]), "freed within 1 s": int(within[1])}


async def _other_than_alone(load: Load, asked: list[Asked], seen: list[Seen]) -> int:
    """Ask again, alone, for each answer that reached its end; return how many are different now."""
    whole = [(question, one.text) for question, one in zip(asked, seen, strict=True) if one.is_whole]
    return sum([(await load.ask("alone", *question)).text != text for question, text in whole])


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
    """Return bytes a request, and the standard error of that figure: by ordinary least squares, and from stretches."""
    kept = np.array(samples[int(len(samples) * WARM_UP) :], np.float64)
    ends = kept[np.linspace(0, len(kept) - 1, STRETCHES + 1).astype(int)]
    rises = np.diff(ends[:, 1]) / np.diff(ends[:, 0])
    x, y = kept[:, 0] - kept[:, 0].mean(), kept[:, 1] - kept[:, 1].mean()
    rise = float((x * y).sum() / (x * x).sum())
    error = float(np.sqrt(((y - rise * x) ** 2).sum() / max(1, len(x) - 2) / (x * x).sum()))
    errors = {"slope_error_bytes": error, "stretches_error_bytes": float(np.std(rises, ddof=1) / STRETCHES**0.5)}
    return {"slope_bytes": rise, **errors, "first_bytes": kept[0, 1], "last_bytes": kept[-1, 1]}


def render(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    counts = ", ".join(f"{report[name]} {name}" for name in summary([]))
    return "\n".join(
        [
            f"{report['requests']} requests: {counts}",
            f"RssAnon: {report['first_bytes'] / 1e6:.1f} MB after the first {WARM_UP:.0%}, "
            f"{report['last_bytes'] / 1e6:.1f} MB at the end",
            f"slope: {report['slope_bytes'] / 1e3:.2f} ± {report['slope_error_bytes'] / 1e3:.2f} kB a request "
            f"(one standard error; of {STRETCHES} stretches ± {report['stretches_error_bytes'] / 1e3:.2f}; "
            "needed: 0 within noise)",
            f"slots free within 1 s of their client's leaving: {report['freed within 1 s']} of {report['freed']} "
            f"({report['cancelled of the quick ones']} quick requests were cancelled too)",
            f"answers that are different when asked for alone: {report['other than alone']}",
        ]
    )
