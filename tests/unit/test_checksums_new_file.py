"""New files: every byte arrives, what is zero takes no room, and nothing that is there is written over."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checksums.errors import IntegrityError
from checksums.hashing import CHUNK_BYTES, Range, sha256_ranges
from checksums.new_file import NewFile
from checksums.tarball import TarReader, TarWriter

PIECES = st.lists(st.one_of(st.binary(max_size=300), st.integers(1, 20_000).map(bytes)), max_size=8)


def write(path: Path, *pieces: bytes) -> Path:
    with NewFile(path) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
    return path


@given(pieces=PIECES)
def test_a_file_holds_what_was_written_holes_or_not(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = write(tmp_path_factory.mktemp("new") / "file", *pieces)
    assert path.read_bytes() == b"".join(pieces)


def test_zeros_take_no_room_wherever_they_stand(tmp_path: Path) -> None:
    hole = bytes(CHUNK_BYTES)
    path = write(tmp_path / "file", b"head", *[hole] * 64, b"middle", *[hole] * 64)
    assert path.stat().st_size == 4 + 6 + 128 * CHUNK_BYTES
    assert path.stat().st_blocks * 512 < CHUNK_BYTES


def test_nothing_that_is_there_is_written_over_nor_a_link_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            NewFile(tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_a_write_that_the_disk_takes_in_part_goes_on_until_all_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:3], at))
    assert write(tmp_path / "file", b"0123456789").read_bytes() == b"0123456789"


def test_ranges_are_hashed_in_the_order_asked_for(tmp_path: Path) -> None:
    data = os.urandom(9 << 20)
    (tmp_path / "file").write_bytes(data)
    ranges = [Range(5, 1000), Range(0, len(data)), Range(77, 0), Range(4 << 20, (5 << 20) - 1)]
    seen: list[int] = []
    with (tmp_path / "file").open("rb") as file:
        found = sha256_ranges(file.fileno(), ranges, seen.append)
    assert found == [hashlib.sha256(data[r.start : r.start + r.size_bytes]).hexdigest() for r in ranges]
    assert sum(seen) == sum(r.size_bytes for r in ranges)


def test_a_range_beyond_the_end_is_cut_short(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb") as file, pytest.raises(IntegrityError, match="4 bytes are missing"):
        sha256_ranges(file.fileno(), [Range(0, 2), Range(6, 8)])


def test_an_interruption_ends_the_hashing_soon(tmp_path: Path) -> None:
    """Every reader stops within a piece: 200 GB of holes would keep them for minutes."""
    with (tmp_path / "file").open("wb") as file:
        file.truncate(200 << 30)

    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    with (tmp_path / "file").open("rb") as file, pytest.raises(KeyboardInterrupt):
        sha256_ranges(file.fileno(), [Range(0, 100 << 30), Range(100 << 30, 100 << 30)], interrupt)


def tarball(*files: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    writer = TarWriter(stream, "top")
    for path, data in files:
        writer.add(path, len(data), "0644", io.BytesIO(data))
    writer.close()
    return stream.getvalue()


def test_skipping_tells_where_each_member_is() -> None:
    files = (("empty", b""), ("full", b"x" * 512), ("odd", b"y" * 700))
    data = tarball(*files)
    reader = TarReader(io.BytesIO(data))
    for path, content in files:
        member = reader.next_member()
        assert member is not None
        assert member.path == path
        place = reader.skip()
        assert data[place.start : place.start + place.size_bytes] == content
    assert reader.next_member() is None


@pytest.mark.parametrize("kept", [511 + 512, 512 + 512 - 1, 512 + 700 - 1, 512 + 1023])
def test_skipping_over_the_end_is_cut_short(kept: int) -> None:
    reader = TarReader(io.BytesIO(tarball(("file", b"y" * 700))[:kept]))
    reader.next_member()
    with pytest.raises(IntegrityError, match="cut short"):
        reader.skip()


def test_skipping_looks_at_the_padding() -> None:
    data = bytearray(tarball(("file", b"y" * 700)))
    data[512 + 700] = 1
    reader = TarReader(io.BytesIO(bytes(data)))
    reader.next_member()
    with pytest.raises(IntegrityError, match="padding"):
        reader.skip()
