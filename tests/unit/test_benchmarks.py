"""The benchmark itself, at a size that takes seconds: it measures what it says, and records it. No clock is judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bundle, clock
from benchmarks.clock import Timing

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
import pathlib, sys
from benchmarks import bundle, clock
clock.RESULTS = pathlib.Path(sys.argv[1])
bundle.TURNS, bundle.WEIGHTS_BYTES, bundle.WHEELS_BYTES, bundle.LARGE_BYTES = 1, 3_000_000, 450_000, 500_000_000
bundle.main()
"""
PEAKS = """
import sys
from benchmarks.clock import run
print(*(run([sys.executable, "-c", f"b'x' * {size}"])[1] for size in (1, 300_000_000)))
"""


def python(program: str, *words: str, **environment: str) -> str:
    """Run a program in a small process: a child of this one would show this one's memory as its own."""
    command = [sys.executable, "-c", program, *words]
    return subprocess.check_output(command, cwd=ROOT, env={**os.environ, **environment}, text=True)


def test_ratios_compare_speeds_and_the_slower_yardstick_counts() -> None:
    seconds = {"pack": 2, "cp, sync": 1, "cp": 0.5, "openssl": 3, "read, cold": 4, "hash, all cores": 1}
    seconds |= {"verify, cold": 5, "verify, warm": 2}
    found = bundle.ratios({name: Timing([value, value, 99.0]) for name, value in seconds.items()})
    assert list(found.values()) == [2.0, 1.75, 0.8, 2.0]


def test_a_child_that_fails_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="no such file"):
        clock.run(["sh", "-c", "echo no such file >&2; exit 1"])


def test_the_peak_is_the_childs() -> None:
    small, large = map(int, python(PEAKS).split())
    assert large - small > 250_000_000


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl here: what Ferry is compared with")
def test_a_run_records_every_row_and_leaves_nothing(tmp_path: Path) -> None:
    printed = python(SMALL, str(tmp_path / "results"), BENCH_FOLDER=str(tmp_path / "bench"))
    (recorded,) = (tmp_path / "results").iterdir()
    report = json.loads(recorded.read_text())
    assert set(report["seconds"]) >= {"pack", "cp, sync", "openssl", "verify, cold", "read, cold", "hash, all cores"}
    assert {name for name, peak in report["peak_bytes"].items() if peak > bundle.PEAK_BYTES} == set()
    assert set(report["peak_bytes"]) >= {"pack", "verify, cold", "pack, 0.5 GB", "verify, 0.5 GB"}
    assert all(name in printed for name in report["ratios"])
    assert list((tmp_path / "bench").iterdir()) == []
