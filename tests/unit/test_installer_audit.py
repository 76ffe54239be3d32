"""`ferry audit export --out FILE`: the file is opened by who asked for it, new and private, and handed on."""

import os
import stat
from pathlib import Path

import pytest

from checksums.errors import UsageError
from installer.cli_audit import with_open_file


@pytest.mark.parametrize("form", ["two words", "one word"])
def test_the_file_is_made_new_and_private_and_handed_on_open(tmp_path: Path, form: str) -> None:
    out = tmp_path / "audit.csv"
    words = ["export", "--out", str(out)] if form == "two words" else ["export", f"--out={out}"]
    handed = with_open_file(words)
    assert handed[:-1] == [*words, "--out-fd"]
    descriptor = int(handed[-1])
    assert os.get_inheritable(descriptor)
    os.write(descriptor, b"rows")
    os.close(descriptor)
    assert (out.read_bytes(), stat.S_IMODE(out.stat().st_mode)) == (b"rows", 0o600)


def test_a_file_that_is_there_or_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link", "nowhere/audit.csv"):
        with pytest.raises(UsageError):
            with_open_file(["export", "--out", str(tmp_path / name)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "there"]
    assert (tmp_path / "there").read_text() == "kept"


def test_without_a_file_nothing_is_added() -> None:
    assert with_open_file(["verify", "--json"]) == ["verify", "--json"]
