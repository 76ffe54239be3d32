"""The web's benchmark at a size that takes seconds: every token is delivered and recorded. No clock is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
import pathlib, sys
from benchmarks import clock, web
clock.RESULTS = pathlib.Path(sys.argv[1])
web.STREAMS, web.SECONDS, web.SPREAD_S, web.IDLE, web.LORIS, web.DEAF = 5, 1.0, 0.2, 20, 3, 2
web.main()
"""


def test_a_small_run_delivers_every_token_and_records_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(tmp_path)],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (recorded,) = tmp_path.iterdir()
    report = json.loads(recorded.read_text())
    assert [(row["whole"], row["tokens"], row["lost"]) for row in report["rows"].values()] == [(5, 100, 0)] * 4
    assert list(report["rows"].values())[-1]["idle answered"] == [20, 20]
    assert all(name in done.stdout for name in report["rows"])
