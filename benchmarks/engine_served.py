"""The engine as it is served, over HTTP: seconds until it is ready, resident memory, and what a second turn costs."""

import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks.model_bytes import CACHE_BYTES, Shape
from benchmarks.workload import memory
from tests.engine_process import EngineProcess, running

ROOT = Path(__file__).resolve().parent.parent
CONTEXT_TOKENS, HISTORY_TOKENS = 2048, 1000
SLOTS = {"float32": 1, "int8": 2}
QUESTION = "And what does that mean for me?"
PATIENCE_S = 600
READY = re.compile(r"ready after ([\d.]+) s, of them ([\d.]+) s imports")


def measure(folder: Path, precision: str, threads: int, turns: int) -> dict[str, Any]:
    """Start the engine a few times, the first not counted; ask in the last one."""
    starts, imports = [], []
    for turn in range(turns + 1):
        with served(folder, precision, threads, SLOTS[precision]) as (engine, ready_s):
            starts.append(ready_s)
            imports.append(imports_s(engine))
            if turn == turns:
                loaded, second = memory(_pid(engine)), second_turn(engine, folder, turns)
                used = memory(_pid(engine))
    found: dict[str, Any] = {"start_s": starts[1:], "imports_s": imports[1:], "loaded": loaded, "used": used}
    return found | {"second_turn": second, "room": room(folder, precision)}


def room(folder: Path, precision: str) -> dict[str, int]:
    """Return the bytes of the weights and of the configured cache."""
    shape = Shape.of(folder)
    cache = SLOTS[precision] * CONTEXT_TOKENS * shape.cache(precision)
    return {"weights": shape.weights(precision), "cache": cache, "cache_number_bytes": CACHE_BYTES[precision]}


@contextmanager
def served(
    folder: Path, precision: str, threads: int, slots: int, more: str = ""
) -> Iterator[tuple[EngineProcess, float]]:
    """Run the engine; give it with the seconds it took until it was ready."""
    settings = [f"threads = {threads}", f"context_tokens = {CONTEXT_TOKENS}"]
    # What a release without these keys accepts is its own default.
    settings += [f'precision = "{precision}"'] * (precision != "float32") + [f"slots = {slots}"] * (slots != 1)
    with tempfile.TemporaryDirectory() as home:
        process = EngineProcess(Path(home, "engine"), folder, "bench", "\n".join(["[engine]", *settings, more, ""]))
        began = time.monotonic()
        with running(process) as engine:
            yield engine, time.monotonic() - began


def imports_s(engine: EngineProcess) -> float:
    """Return how long the imports took by the engine's own account.

    Raises:
        RuntimeError: its journal does not say.
    """
    found = READY.search(engine.journal.read_text())
    if not found:
        raise RuntimeError("the journal does not say how long the imports took")
    return float(found[2])


def second_turn(engine: EngineProcess, folder: Path, turns: int) -> dict[str, Any]:
    """Time the first token of a turn after a long history: of one that was had here, and of the same one cold."""
    history = {"role": "user", "content": _text(folder, HISTORY_TOKENS)}
    first = [history]
    second = [history, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": QUESTION}]
    found: dict[str, list[Any]] = {"cold_s": [], "warm_s": [], "prompt_tokens": [], "cached_tokens": []}
    for turn in range(turns):
        cold_s, _ = ask(engine, f"cold {turn}", second)
        ask(engine, f"warm {turn}", first)
        warm_s, usage = ask(engine, f"warm {turn}", second)
        details = usage.get("prompt_tokens_details") or {}
        values = (cold_s, warm_s, usage["prompt_tokens"], details.get("cached_tokens", 0))
        for figure, value in zip(found.values(), values, strict=True):
            figure.append(value)
    return found | {"ratio": statistics.median(found["warm_s"]) / statistics.median(found["cold_s"])}


def ask(engine: EngineProcess, who: str, messages: list[dict[str, str]]) -> tuple[float, dict[str, Any]]:
    """Return the seconds until one token stood, and the usage; `who` is both user and conversation."""
    body = {"model": "default", "messages": messages, "max_tokens": 1, "temperature": 0}
    with engine.client(PATIENCE_S) as http:
        began = time.monotonic()
        response = http.post("/v1/chat/completions", json=body, headers=named(who))
        seconds = time.monotonic() - began
    response.raise_for_status()
    usage: dict[str, Any] = response.json()["usage"]
    return seconds, usage


def named(who: str) -> dict[str, str]:
    """Return the headers of one user in one conversation."""
    return {"X-Ferry-User": who, "X-Ferry-Conversation": who}


def _text(folder: Path, tokens: int) -> str:
    """Return the beginning of the licence, so many tokens long."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    end: int = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).offsets[tokens - 1][1]
    return text[:end]


def _pid(engine: EngineProcess) -> int:
    assert engine.process
    return engine.process.pid
