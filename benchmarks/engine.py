"""The engine's figures, beside those of others with PEERS=1: speed, memory, start, a second turn, and quality.

Every measurement is a process of its own, in turns (A B C A B C), the same tokens and threads for all. How to read the
figures: benchmarks/README.md.
"""

import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import engine_models, engine_served, engine_table, quality
from benchmarks.clock import machine, record
from benchmarks.engine_models import REAL, SHAPE
from benchmarks.engines import Engine, child, engines, leave_out
from benchmarks.model_bytes import Shape
from benchmarks.workload import Workload

TURNS = int(os.environ.get("BENCH_TURNS", "5"))
THREADS = 2
PRECISIONS = ("float32", "int8")
SERVED = PRECISIONS
# What is measured: tokens before, tokens decoded, sequences.
ROWS = {"128": (128, 64, 1), "1,900": (1900, 64, 1), "8 x 128": (128, 64, 8)}
MODELS = (SHAPE, REAL)

# Engine -> row -> figure -> one value a turn.
Turns = dict[str, dict[str, dict[str, list[Any]]]]


def main() -> None:
    """Measure, print a table, and record it."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    report |= {"turns": TURNS, "threads": THREADS, "models": {}, "left_out": {}}
    for model in MODELS:
        report["models"][model] = measure(model, engine_models.folder(model), report["left_out"])
    report["quality"] = quality.measure(engine_models.folder(REAL), THREADS)
    report["ratios"] = engine_table.ratios(report["models"], report["quality"])
    record(report, "engine")
    print(engine_table.render(report))


def measure(model: str, folder: Path, left_out: dict[str, str]) -> dict[str, Any]:
    """Run every engine on every row once a turn, and the memory's own speed beside them; then the serving process."""
    candidates, shape = engines(model, bool(os.environ.get("PEERS")), left_out), Shape.of(folder)
    turns: Turns = {}
    for turn in range(TURNS):
        print(f"{model}: turn {turn + 1} of {TURNS}", file=sys.stderr)
        for precision in PRECISIONS:
            words = ["-m", "benchmarks.engine_limit", str(shape.weights(precision)), str(THREADS)]
            _add(turns, "limit", precision, child([sys.executable, *words]))
        for row in ROWS:
            for engine in candidates:
                _run(engine, row, shape.vocabulary, turns, left_out)
    served = {}
    for precision in SERVED:
        try:
            served[precision] = engine_served.measure(folder, precision, THREADS, TURNS)
        except (RuntimeError, AssertionError) as error:
            leave_out(f"{model}: ferry {precision}, served", error, left_out)
    return {"turns": turns, "served": served, "bytes": _bytes(shape)}


def _run(engine: Engine, row: str, vocabulary: int, turns: Turns, left_out: dict[str, str]) -> None:
    """Add one turn of one engine; one that fails once is left out from then on, and the report says so."""
    context, tokens, sequences = ROWS[row]
    if engine.label in left_out:
        return
    workload = Workload(str(engine.model), engine.precision, THREADS, context, tokens, sequences, vocabulary)
    try:
        _add(turns, engine.name, row, child([*engine.words, workload.words()]))
    except RuntimeError as error:
        leave_out(engine.label, error, left_out)


def _add(turns: Turns, name: str, row: str, found: dict[str, Any]) -> None:
    figures = turns.setdefault(name, {}).setdefault(row, {})
    for figure, value in found.items():
        figures.setdefault(figure, []).append(value)


def _bytes(shape: Shape) -> dict[str, dict[str, int]]:
    """Return what a step reads in the middle of each row: weights, and the keys and values so far."""
    return {
        precision: {
            row: shape.read(precision, context + tokens // 2, sequences)
            for row, (context, tokens, sequences) in ROWS.items()
        }
        for precision in PRECISIONS
    }
