"""Progress: real bytes on a terminal, nothing at all where stderr is none or --quiet was given."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time
from pathlib import Path
from bundle.progress import Progress
with Progress(quiet="quiet" in sys.argv).watch_folder("wheels", Path(sys.argv[1]), 4000):
    Path(sys.argv[1], "half").write_bytes(bytes(2000))
    time.sleep(1)
"""


def run(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-c", PROGRAM, str(folder), *words], {**os.environ, "PYTHONPATH": str(ROOT)}


def on_a_terminal(folder: Path, *words: str) -> str:
    command, environment = run(folder, *words)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(command, env=environment, stderr=theirs)
    os.close(theirs)
    drawn = b""
    with suppress(OSError):  # Linux says EIO when the other side of a terminal is closed
        while data := os.read(ours, 4096):
            drawn += data
    os.close(ours)
    assert process.wait() == 0
    return drawn.decode()


def test_a_terminal_sees_how_many_bytes_were_written(tmp_path: Path) -> None:
    assert "2.00k/4.00k" in on_a_terminal(tmp_path)


def test_quiet_draws_nothing(tmp_path: Path) -> None:
    assert on_a_terminal(tmp_path, "quiet") == ""


def test_a_log_file_gets_no_bars(tmp_path: Path) -> None:
    command, environment = run(tmp_path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
