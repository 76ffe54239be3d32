"""The folder a bundle is made in: whatever ends the work, nothing stays; what a killed run left goes with the next."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bundle.workshop import workshop
from checksums.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from bundle.workshop import workshop
with workshop(Path(sys.argv[1]), ".building-") as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another run, in the middle of its work."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_nothing_stays_whether_the_work_succeeds_or_not(tmp_path: Path) -> None:
    with workshop(tmp_path / "out", ".building-") as folder:
        (folder / "file").write_text("x")
    with suppress(KeyboardInterrupt), workshop(tmp_path / "out", ".building-") as folder:
        (folder / "file").write_text("x")
        raise KeyboardInterrupt
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_and_what_is_not_ours_stays(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    assert other.stdout is not None
    left = Path(other.stdout.readline().strip())
    other.kill()
    other.wait()
    assert (left / "half").exists(), "a killed run cannot clean up"
    (tmp_path / ".building-link").symlink_to("/")
    with workshop(tmp_path, ".building-"):
        assert not left.exists()
    assert [path.name for path in tmp_path.iterdir()] == [".building-link"]


def test_a_run_that_is_still_at_work_keeps_its_folder(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    used = Path(other.stdout.readline().strip())
    with workshop(tmp_path, ".building-"):
        assert (used / "half").exists()
    other.communicate("", timeout=30)
    assert (other.returncode, list(tmp_path.iterdir())) == (0, [])


def test_a_place_that_is_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="out"), workshop(tmp_path / "out", ".building-"):
        pass
