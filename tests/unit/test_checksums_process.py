"""A program that runs beside a block: waited for, judged like any other, and gone when the block ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from checksums import process
from checksums.errors import HostError
from checksums.process import ProcessError


def test_a_program_runs_while_the_block_does_and_is_waited_for(tmp_path: Path) -> None:
    # Each waits for the other: one after the other, neither would come to its end.
    program = "echo begun >begun; while [ ! -e go ]; do :; done; echo done >made"
    with process.beside(["sh", "-c", program], cwd=tmp_path) as ending:
        while not (tmp_path / "begun").exists():
            pass
        (tmp_path / "go").touch()
        assert ending().returncode == 0
    assert (tmp_path / "made").read_text() == "done\n"


def test_one_that_fails_beside_the_block_says_why() -> None:
    with process.beside(["sh", "-c", "echo no room >&2; exit 3"]) as ending, pytest.raises(ProcessError) as caught:
        ending()
    assert "exit status 3\nno room" in caught.value.message


def test_much_that_it_says_does_not_stop_it() -> None:
    program = "import sys; sys.stderr.write('x' * 1_000_000)"
    with process.beside([sys.executable, "-c", program]) as ending:
        assert len(ending().stderr) == 1_000_000


def test_one_that_nobody_waited_for_is_killed(tmp_path: Path) -> None:
    with process.beside(["sh", "-c", "echo $$ >pid; exec sleep 1000"], cwd=tmp_path):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            pass
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_one_that_is_not_on_this_host_is_named() -> None:
    with pytest.raises(HostError, match="no-such-program: command not found"), process.beside(["no-such-program"]):
        pass
