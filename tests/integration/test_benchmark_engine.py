"""The engine's benchmarks at a size that takes seconds: they measure what they say. No clock is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_model

ROOT = Path(__file__).resolve().parents[2]
START = """
import pathlib, sys
from benchmarks import clock, engine_models, engine_served
clock.RESULTS = pathlib.Path(sys.argv[1])
engine_models.folder = lambda name: pathlib.Path(sys.argv[2])
engine_served.HISTORY_TOKENS = 200
"""
SPEED = """
from benchmarks import engine, quality
engine.TURNS, engine.SERVED, quality.TOKENS = 1, ("float32",), 24
engine.ROWS = {"128": (16, 4, 1), "8 x 128": (16, 4, 8)}
engine.MODELS = engine.MODELS[:1]
engine.main()
"""
CANCELS = """
from benchmarks import cancels
cancels.REQUESTS, cancels.SLOTS = 30, 1
# The tiny model answers within milliseconds: its clients have to vanish as quickly.
cancels.GONE_S = (0.0, 0.02)
cancels.main()
"""
OVERLOAD = """
from benchmarks import overload
overload.CLIENTS, overload.SLOTS, overload.TOKENS = 24, 1, 8
overload.main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("model"))


def run(program: str, results: Path, model: Path) -> tuple[dict[str, Any], str]:
    """Run a benchmark in a process of its own; give what it recorded and printed."""
    command = [sys.executable, "-c", START + program, str(results), str(model)]
    environment = {name: value for name, value in os.environ.items() if name != "PEERS"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (recorded,) = results.iterdir()
    return json.loads(recorded.read_text()), done.stdout


def test_every_row_of_the_engine_is_measured_and_printed(tmp_path: Path, model: Path) -> None:
    report, printed = run(SPEED, tmp_path, model)
    assert report["left_out"] == {}
    (measured,) = report["models"].values()
    assert {
        row: set(found) >= {"prefill", "decode", "used"} for row, found in measured["turns"]["ferry int8"].items()
    } == {
        "128": True,
        "8 x 128": True,
    }
    second_turn = measured["served"]["float32"]["second_turn"]
    assert second_turn["prompt_tokens"][0] > 200
    assert all(name in printed for name, _, _ in report["ratios"])
    assert 0 <= report["quality"]["kl"] < 0.01


def test_clients_that_vanish_are_counted_beside_the_memory(tmp_path: Path, model: Path) -> None:
    report, printed = run(CANCELS, tmp_path, model)
    assert len(report["samples"]) == 30
    assert report["answered"] + report["cancelled"] == 30
    assert report["cancelled"] > 0
    assert "slope" in printed
    # The tiny engine may have answered before it notices that somebody left.
    cancelled = report["cancelled"] + report["cancelled of the quick ones"]
    assert 0 < report["freed within 1 s"] == report["freed"] <= cancelled
    assert report["other than alone"] == 0


def test_overload_shows_who_was_answered_and_who_was_refused(tmp_path: Path, model: Path) -> None:
    report, _ = run(OVERLOAD, tmp_path, model)
    default, roomy = report["default queue"], report["room for all"]
    assert default["cut or failed"] == roomy["cut or failed"] == 0
    assert default["answered"] + default["refused"] == 24
    assert default["refused"] > 0
    assert roomy["answered"] == 24
