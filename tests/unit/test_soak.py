"""The long runs are started by hand, rarely: at least each of their programs must find what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "make" / "soak.sh").read_text()
PROGRAMS = re.findall(r"^\.venv/bin/python (tests/\S+\.py)", SCRIPT, re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_long_runs_finds_what_it_imports(program: str) -> None:
    (line,) = re.findall(r'^export PYTHONPATH=("\$PWD")$', SCRIPT, re.MULTILINE)
    path = subprocess.run(
        ["sh", "-c", f"printf %s {line}"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    look = f"import runpy, sys; sys.path.insert(0, 'tests'); runpy.run_path({program!r}, run_name='looked at')"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", look], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_there_are_long_runs() -> None:
    assert len(PROGRAMS) >= 4
