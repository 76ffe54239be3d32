"""Splitting and joining: sizes as people write them, and whatever stops it leaves nothing under a final name."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest
import tampering
from parts_bench import PART_BYTES, QUIET, Set

from bundle import media
from checksums.errors import FerryError, IntegrityError, UsageError


@pytest.fixture
def made(tmp_path: Path) -> Set:
    return Set(tmp_path)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4_000_000_000),
        ("4g", 4_000_000_000),
        ("4GB", 4_000_000_000),
        ("4.7G", 4_700_000_000),
        ("1GiB", 1 << 30),
        ("650 MiB", 650 << 20),
        ("1T", 10**12),
        ("2000K", 2_000_000),
        ("1000000", 1_000_000),
        ("4294967295", (1 << 32) - 1),
    ],
)
def test_sizes_are_decimal_unless_an_i_says_otherwise(text: str, size: int) -> None:
    assert media.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "4X", "-4G", "4GG", "999999", "1K", "4 G B", "٤G", "1e9", "9" * 40])
def test_what_is_no_size_or_a_silly_one_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        media.parse_size(text)


def test_too_many_parts_are_refused_before_anything_is_written(made: Set, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than 999 parts of 100") as raised:
        media.split(made.bundle, 100, tmp_path / "many", QUIET)
    assert "--size" in raised.value.hint and list((tmp_path / "many").iterdir()) == []


def test_a_damaged_bundle_is_not_split(made: Set, tmp_path: Path) -> None:
    with tampering.flip_a_byte("/more.safetensors")(made.bundle), pytest.raises(IntegrityError, match="more"):
        media.split(made.bundle, PART_BYTES, tmp_path / "out", QUIET)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_new_split_leaves_no_part_of_the_one_before(made: Set) -> None:
    again = media.split(made.bundle, 3 * PART_BYTES, made.folder, QUIET)
    assert sorted(made.folder.iterdir()) == sorted(again) and len(again) < len(made.parts)


def test_an_interrupted_join_leaves_what_was_there(made: Set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(_path: Path) -> None:
        raise KeyboardInterrupt

    before = Path(shutil.copy(made.bundle, tmp_path))
    before.write_bytes(b"an older bundle")
    monkeypatch.setattr(media, "synced", interrupted)
    for what in (
        lambda: media.join([made.part(1)], tmp_path, QUIET),
        lambda: media.split(made.bundle, 50_000, tmp_path, QUIET),
    ):
        with pytest.raises(KeyboardInterrupt):
            what()
    assert before.read_bytes() == b"an older bundle" and not list(tmp_path.glob("*.tar.*")) + list(tmp_path.glob(".*"))


def test_what_a_kill_left_goes_and_what_lives_stays(made: Set, tmp_path: Path) -> None:
    out = tmp_path / "joined"
    for name in (".joining-killed", ".joining-lives"):
        (out / name).mkdir(parents=True)
        (out / name / "half.tar").write_bytes(b"half")
    descriptor = os.open(out / ".joining-lives", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    media.join([made.part(1)], out, QUIET)
    os.close(descriptor)
    assert sorted(path.name for path in out.iterdir()) == [".joining-lives", made.bundle.name]


def test_a_disk_without_room_is_one_clear_error(made: Set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]
    with pytest.raises(FerryError, match="0 MB are free") as raised:
        media.join([made.part(1)], tmp_path / "joined", QUIET)
    assert raised.value.exit_code == 1 and list((tmp_path / "joined").iterdir()) == []
