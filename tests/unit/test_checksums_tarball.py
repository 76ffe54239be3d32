"""The tar format: what the writer gives, GNU tar's own view of it, and what the reader refuses."""

import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checksums.errors import IntegrityError
from checksums.tarball import BLOCK, TarReader, TarWriter, header

TOP = "ferry-demo-1.0-x86_64"
LONG = "payload/wheels/" + "w" * 120 + ".whl"
PARTS = st.text("abcXYZ019_-.+", min_size=1, max_size=60).filter(lambda p: p not in {".", ".."} and p[0] != "-")
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join).filter(lambda path: len(path) <= 240)


def write(files, top=TOP):
    out = io.BytesIO()
    writer = TarWriter(out, top)
    for path, data, mode in files:
        writer.add(path, len(data), mode, io.BytesIO(data))
    writer.close()
    return out.getvalue()


def read(data):
    reader, found = TarReader(io.BytesIO(data)), []
    while member := reader.next_member():
        content = io.BytesIO()
        reader.copy_to(content)
        found.append((member.path, content.getvalue(), member.mode))
    return found


@given(st.lists(st.tuples(PATHS, st.binary(max_size=1500), st.sampled_from(["0644", "0755"])), max_size=6))
def test_what_is_written_is_read_back_by_us_and_by_the_standard_library(files):
    data = write(files)
    assert read(data) == files
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        seen = [(m.name, tar.extractfile(m).read(), f"{m.mode:04o}") for m in tar]
    assert seen == [(f"{TOP}/{path}", content, mode) for path, content, mode in files]


def test_gnu_tar_lists_a_bundle_without_a_warning(tmp_path):
    (tmp_path / "x.tar").write_bytes(write([("a", b"1", "0644"), (LONG, b"22", "0755")]))
    done = subprocess.run(["tar", "tvf", tmp_path / "x.tar"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].startswith("-rwxr-xr-x 0/0")
    assert done.stdout.splitlines()[1].endswith(LONG)


def test_a_pax_header_stands_only_where_ustar_is_too_small():
    assert len(header("top/" + "d/" * 40 + "f" * 90, 1, "0644")) == BLOCK
    assert len(header("top/" + "f" * 101, 1, "0644")) == 3 * BLOCK
    assert len(header("top/f", 8 << 30, "0644")) == 3 * BLOCK
    assert b"size=8589934592\n" in header("top/f", 8 << 30, "0644")
    assert len(header("top/f", (8 << 30) - 1, "0644")) == BLOCK


def test_the_reader_takes_a_size_above_8_gib_from_its_pax_header():
    member = TarReader(io.BytesIO(header(f"{TOP}/f", 9 << 30, "0644"))).next_member()
    assert (member.path, member.size) == ("f", 9 << 30)


@pytest.mark.parametrize("cut", [0, 1, 100, 511, 513, 1024, 1536, 2047])
def test_the_reader_refuses_a_tarball_cut_short(cut):
    whole = write([("a", b"x" * 600, "0644")])
    assert len(whole) > cut
    with pytest.raises(IntegrityError, match="cut short"):
        read(whole[:cut])


def test_the_reader_refuses_bytes_behind_the_end():
    with pytest.raises(IntegrityError, match="behind the end"):
        read(write([("a", b"x", "0644")]) + b"\0")


def test_the_reader_refuses_a_second_top_folder():
    whole = write([("a", b"x", "0644")])[: 2 * BLOCK] + write([("b", b"y", "0644")], top="other")
    with pytest.raises(IntegrityError, match="one top folder"):
        read(whole)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_the_reader_refuses_everything_but_plain_files(kind):
    info = tarfile.TarInfo(f"{TOP}/a")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(IntegrityError, match=r"link|folder|no plain file"):
        read(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))


@pytest.mark.parametrize("path", ["../a", "/etc/a", "a/../b", "a//b", "./a", "-rf", "a/-b", "a\nb", "a\\b", "é", "a "])
def test_the_reader_refuses_a_path_that_could_leave_its_folder(path):
    info = tarfile.TarInfo(f"{TOP}/{path}")
    with pytest.raises(IntegrityError):
        read(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def test_the_reader_refuses_a_size_below_zero_before_it_reads_on() -> None:
    stream = io.BytesIO(header(f"{TOP}/a", -5, "0644") + bytes(4096))
    with pytest.raises(IntegrityError):
        TarReader(stream).next_member()
    assert stream.tell() == BLOCK


@given(st.integers(0, 511), st.integers(1, 255))
def test_the_reader_refuses_any_other_header_byte(at, change):
    whole = bytearray(write([("a", b"", "0644")]))
    whole[at] ^= change
    try:
        found = read(bytes(whole))
    except IntegrityError:
        return
    assert found[0][0] != "a", "only the name may change, and then the name differs"


def test_the_reader_refuses_padding_that_is_not_zero():
    whole = bytearray(write([("a", b"x", "0644")]))
    whole[BLOCK + 7] = 1
    with pytest.raises(IntegrityError, match="padding"):
        read(bytes(whole))
