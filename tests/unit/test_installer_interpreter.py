"""Unpacking the carried interpreter with our own reader."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import archives
import pytest
from archives import STUB, Member

from checksums.errors import IntegrityError
from installer import interpreter

MEMBERS = (
    *STUB,
    Member("python/bin/python3", kind=tarfile.LNKTYPE, target="python/bin/python3.11"),
    Member("python/share/empty", kind=tarfile.DIRTYPE),
    Member("python/share/nowhere", kind=tarfile.SYMTYPE, target="gone"),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "cpython.tar.gz"
    path.write_bytes(archives.archive(*MEMBERS))
    return path


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    interpreter.unpack(source, tmp_path / "python")
    return tmp_path / "python"


def test_what_is_unpacked_is_what_tar_unpacks(source: Path, folder: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    subprocess.run(["tar", "-xzf", str(source), "-C", str(theirs)], check=True)

    def tree(top: Path) -> dict[str, tuple[bytes, float, int]]:
        found = {}
        for path in top.rglob("*"):
            if path.is_symlink():
                found[str(path.relative_to(top))] = (str(path.readlink()).encode(), 0.0, 0)
            elif path.is_file():
                status = path.stat()
                found[str(path.relative_to(top))] = (path.read_bytes(), status.st_mtime, status.st_mode & 0o111)
            else:
                found[str(path.relative_to(top))] = (b"", 0.0, 0)
        return found

    assert tree(folder) == tree(theirs / "python")


def test_nobody_can_write_to_its_files(folder: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o444, 0o555}
    assert (folder / "bin" / "python3").samefile(folder / "bin" / "python3.11")


OUTSIDE = Member("python/lib/x", kind=tarfile.SYMTYPE, target="../../../victim")


@pytest.mark.parametrize(
    "members",
    [(OUTSIDE, Member("python/lib/x/y", b"evil")), (OUTSIDE,), (Member("python/../victim/y", b"evil"),)],
    ids=["through a link", "by a link", "by name"],
)
def test_a_hostile_archive_writes_nothing_outside(tmp_path: Path, members: tuple[Member, ...]) -> None:
    """The build side refuses such; a key that is trusted may have signed another build's."""
    victim = tmp_path / "victim"
    victim.mkdir()
    source = tmp_path / "cpython.tar.gz"
    source.write_bytes(archives.archive(*STUB, *members))
    with pytest.raises(IntegrityError, match=r"^cpython\.tar\.gz: "):
        interpreter.unpack(source, tmp_path / "python")
    assert list(victim.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpython.tar.gz", "python", "victim"]
    assert not any(path.is_symlink() for path in (tmp_path / "python").rglob("*"))
