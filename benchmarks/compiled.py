"""What torch.compile gives on this processor, and what it needs: the figures of docs/decisions/0019.

Each run compiles anew, into an empty cache. The last one finds no C++ compiler, as on a server.
"""

import statistics
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import engine_models
from benchmarks.clock import machine, record
from benchmarks.engine import THREADS, TURNS
from benchmarks.engine_models import SHAPE
from benchmarks.engines import child
from benchmarks.workload import Workload

WAYS = ("eager", "default", "max-autotune-no-cudagraphs")
CONTEXT, TOKENS = 128, 64


def main() -> None:
    """Measure, print a table, and record it."""
    report: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "machine": machine()}
    workload = Workload(str(engine_models.folder(SHAPE)), "float32", THREADS, CONTEXT, TOKENS)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(TURNS):
        for way in WAYS:
            found[way].append(run(workload, way))
    report |= {"turns": TURNS, "found": found, "without a compiler": without_compiler(workload)}
    record(report, "compiled")
    print(render(report))


def run(workload: Workload, way: str, **environment: str) -> dict[str, Any]:
    """Run one way with a cache of its own."""
    with tempfile.TemporaryDirectory() as home:
        cached = {"TORCHINDUCTOR_CACHE_DIR": home, "HF_HUB_OFFLINE": "1", **environment}
        words = [sys.executable, "-m", "benchmarks.engine_compiled", workload.words(), way]
        found = child(words, **cached)
        return found | {"cache_bytes": sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file())}


def without_compiler(workload: Workload) -> str:
    """Return what torch says where PATH has no compiler."""
    with tempfile.TemporaryDirectory() as empty:
        try:
            run(workload, "default", PATH=empty, CXX=f"{empty}/g++")
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if "Error" in line or "ompiler" in line]
            return lines[-1] if lines else str(error)
    return "it ran"


def render(report: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = [f"{'':<28}{'decode tok/s':>13}{'first step s':>13}{'its CPU s':>11}{'own memory MB':>15}"]
    for way, turns in report["found"].items():
        figures = ("decode", "first_step_s", "first_step_cpu_s")
        decode, first_s, cpu_s = (statistics.median(turn[name] for turn in turns) for name in figures)
        own = statistics.median(turn["used"]["RssAnon"] for turn in turns) / 1e6
        lines.append(f"{way:<28}{decode:>13.2f}{first_s:>13.1f}{cpu_s:>11.1f}{own:>15.0f}")
    return "\n".join([*lines, f"without a compiler: {report['without a compiler']}"])
