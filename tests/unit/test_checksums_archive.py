"""Reading interpreter archives: what a good one yields, and every way of being a bad one."""

from __future__ import annotations

import gzip
import io
import tarfile
from contextlib import nullcontext
from pathlib import Path

import archives
import pytest
from archives import STUB, Member
from hypothesis import given
from hypothesis import strategies as st

from checksums import archive
from checksums.archive import Entry
from checksums.errors import IntegrityError

LINK, TWIN, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


class Collected(bytearray):
    def write(self, data: memoryview, /) -> None:
        self.extend(data)


def read(data: bytes) -> dict[str, tuple[Entry, bytes]]:
    bodies: dict[str, Collected] = {}

    def target(entry: Entry) -> nullcontext[Collected]:
        return nullcontext(bodies.setdefault(entry.path, Collected()))

    entries = archive.read(io.BytesIO(data), target)
    return {entry.path: (entry, bytes(bodies.get(entry.path, b""))) for entry in entries}


LONG = Member(f"python/{'a' * 90}/{'b' * 90}/{'c' * 90}", b"long")


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_way_of_writing_a_good_archive_is_read(format: int) -> None:
    more = () if format == tarfile.USTAR_FORMAT else (LONG, Member("python/far", kind=LINK, target=f"{'x' * 99}/y"))
    members = (
        Member("python", kind=FOLDER),
        *STUB,
        Member("python/lib/empty", kind=FOLDER),
        Member("python/bin/python3", kind=TWIN, target="python/bin/python3.11"),
        Member("python/share/man (1)", b"x" * 3_000_000),
        *more,
    )
    found = read(archives.archive(*members, format=format))
    assert len(found) == len(members) - 1
    assert found["share/man (1)"][1] == b"x" * 3_000_000
    program = found["bin/python3.11"][0]
    assert (program.kind, program.is_executable, program.mtime) == ("file", True, 1_700_000_000)
    assert found["bin/python"][0].target == "python3.11" and found["bin/python3"][0].target == "bin/python3.11"
    assert found["lib/empty"][0].kind == "folder"


BAD_MEMBERS: dict[str, tuple[Member, ...]] = {
    "an absolute name": (Member("/python/x"),),
    "a name that climbs": (Member("python/../x"),),
    "a name that climbs at its end": (Member("python/lib/.."),),
    "a name beside the folder": (Member("pythons/x"),),
    "the folder as a file": (Member("python"),),
    "the folder as a link": (Member("python", kind=LINK, target="/etc"),),
    "a dot in the name": (Member("./python/x"),),
    "an empty part": (Member("python//x"),),
    "a line break in the name": (Member("python/a\nb"),),
    "a name that hides": (Member("python/a\x1b[2Kb"),),
    "a name without end": (Member("python/" + "a/" * 600 + "a"),),
    "a part without end": (Member("python/" + "a" * 300),),
    "a name that is not UTF-8": (Member("python/\udcff"),),
    "a file twice": (Member("python/x", b"1"), Member("python/x", b"2")),
    "a folder twice": (Member("python/x", kind=FOLDER), Member("python/x", kind=FOLDER)),
    "a file below a file": (Member("python/x"), Member("python/x/y")),
    "a file below a link": (Member("python/x", kind=LINK, target="/etc"), Member("python/x/passwd")),
    "a link where a folder is": (Member("python/x/y"), Member("python/x", kind=LINK, target="z")),
    "a file where a folder is": (Member("python/x/y"), Member("python/x")),
    "an absolute link": (Member("python/x", kind=LINK, target="/etc/passwd"),),
    "a link that climbs": (Member("python/x", kind=LINK, target="../../etc"),),
    "a link that climbs through others": (
        Member("python/a/b/c/near", kind=LINK, target="../../.."),
        Member("python/a/b/c/out", kind=LINK, target="near/.."),
    ),
    "a link to itself": (Member("python/x", kind=LINK, target="x"),),
    "links in a circle": (Member("python/x", kind=LINK, target="y"), Member("python/y", kind=LINK, target="x")),
    "a link to nowhere": (Member("python/x", kind=LINK),),
    "a link with a line break": (Member("python/x", kind=LINK, target="a\nb"),),
    "a hard link outside": (Member("python/x", kind=TWIN, target="/etc/passwd"),),
    "a hard link that climbs": (Member("python/x", kind=TWIN, target="python/../../etc/passwd"),),
    "a hard link to a later file": (Member("python/x", kind=TWIN, target="python/y"), Member("python/y")),
    "a hard link to a link": (
        Member("python/y", kind=LINK, target="z"),
        Member("python/x", kind=TWIN, target="python/y"),
    ),
    "folders without end": (Member("python/" + "a/" * 65 + "b"),),
    "a character device": (Member("python/null", kind=tarfile.CHRTYPE),),
    "a block device": (Member("python/sda", kind=tarfile.BLKTYPE),),
    "a pipe": (Member("python/pipe", kind=tarfile.FIFOTYPE),),
    "a sparse file": (Member("python/big", kind=tarfile.GNUTYPE_SPARSE),),
    "a reserved kind": (Member("python/x", kind=b"7"),),
    "an unknown kind": (Member("python/x", kind=b"Z"),),
    "setuid": (Member("python/x", mode=0o4755),),
    "sticky": (Member("python/x", mode=0o1755),),
}


@pytest.mark.parametrize("members", BAD_MEMBERS.values(), ids=BAD_MEMBERS)
def test_an_archive_with_a_bad_member_is_refused(members: tuple[Member, ...]) -> None:
    with pytest.raises(IntegrityError):
        read(archives.archive(*STUB, *members))


def changed(at: int, data: bytes, is_summed: bool = True) -> bytes:
    """Return the stub with bytes of its first header replaced, the checksum made good or not."""
    block = bytearray(archives.plain(*STUB)[:512])
    block[at : at + len(data)] = data
    if is_summed:
        block[148:156] = b" " * 8
        block[148:156] = f"{sum(block):06o}\0 ".encode()
    return gzip.compress(bytes(block) + archives.plain(*STUB)[512:])


def pax(*records: bytes) -> bytes:
    """Return the stub behind a pax header of these very bytes."""
    return gzip.compress(extra(b"x", b"".join(records)) + archives.plain(*STUB))


def extra(kind: bytes, body: bytes) -> bytes:
    """Return a header of this kind before an entry, and what it holds."""
    info = tarfile.TarInfo("extra")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


GOOD = archives.archive(*STUB)
BAD_BYTES: dict[str, bytes] = {
    "nothing": b"",
    "no gzip": b"hello" * 500,
    "a plain tar": archives.plain(*STUB),
    "gzip of text": gzip.compress(b"hello" * 500),
    "cut in the gzip": GOOD[:-20],
    "cut in the tar": gzip.compress(archives.plain(*STUB)[:1500]),
    "without its end": gzip.compress(archives.plain(*STUB).rstrip(b"\0")),
    "something behind the gzip": GOOD + b"more",
    "a second gzip behind the first": GOOD + GOOD,
    "something behind the tar": gzip.compress(archives.plain(*STUB) + b"more"),
    "zeros without end": gzip.compress(archives.plain(*STUB) + bytes(4 << 20)),
    "a flipped bit": GOOD[:100] + bytes([GOOD[100] ^ 1]) + GOOD[101:],
    "a wrong checksum": changed(0, b"python/bin/other", is_summed=False),
    "no tar magic": changed(257, b"nothing"),
    "a size that is no number": changed(124, b"zzzzzzzzzzz\0"),
    "a size in base 256": changed(124, b"\x80" + bytes(10) + b"\x01"),
    "a negative mtime": changed(136, b"\xff" * 12),
    "a link with a size": changed(124, b"00000000005\0"),
    "a sparse file in a pax header": pax(b"22 GNU.sparse.major=1\n"),
    "an unknown pax key": pax(b"12 size=123\n"),
    "a pax key twice": pax(b"17 path=python/a\n", b"17 path=python/b\n"),
    "a pax record too long": pax(b"99 path=python/a\n"),
    "a pax record too short": pax(b"3 path=python/a\n"),
    "a pax record of length zero": pax(b"0 path=python/a\n"),
    "a pax record without a length": pax(b"path=python/a\n"),
    "a pax path that climbs": pax(b"21 path=python/../../x\n"),
    "a pax path with a zero byte": pax(b"18 path=python/a\0\n"),
    "a pax header that is not UTF-8": pax(b"17 path=python/\xff\n"),
    "two pax headers": gzip.compress(extra(b"x", b"17 path=python/a\n") * 2 + archives.plain(*STUB)),
    "a pax header and a long name": gzip.compress(
        extra(b"L", b"/etc/passwd\0") + extra(b"x", b"17 path=python/a\n") + archives.plain(*STUB)
    ),
    "two long names": gzip.compress(extra(b"L", b"python/a\0") * 2 + archives.plain(*STUB)),
    "a pax header without end": pax(b"70000 path=" + b"a" * 69_988 + b"\n"),
}


@pytest.mark.parametrize("data", BAD_BYTES.values(), ids=BAD_BYTES)
def test_bytes_that_are_no_archive_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read(data)


def test_the_tables_break_what_is_good() -> None:
    assert len(read(GOOD)) == len(STUB)
    assert len(read(changed(0, b"python/bin/Python"))) == len(STUB)
    assert "a" in read(pax(b"17 path=python/a\n"))


@pytest.mark.parametrize(("limit", "value"), [("MAX_ENTRIES", 3), ("MAX_UNPACKED_BYTES", 100)])
def test_an_archive_beyond_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(archive, limit, value)
    with pytest.raises(IntegrityError, match="holds more than"):
        read(GOOD)


@given(st.binary(max_size=40), st.integers(0, 4000), st.booleans())
def test_whatever_the_bytes_the_answer_is_a_refusal_or_a_list(data: bytes, at: int, is_packed: bool) -> None:
    whole = GOOD if not is_packed else archives.plain(*STUB)
    broken = whole[:at] + data + whole[at + len(data) :]
    try:
        read(gzip.compress(broken) if is_packed else broken)
    except IntegrityError as error:
        assert error.message


@given(st.lists(st.sampled_from(["a", "b", "..", "."]), min_size=1, max_size=6), st.data())
def test_links_are_followed_as_the_kernel_does(
    tmp_path_factory: pytest.TempPathFactory, way: list[str], data: st.DataObject
) -> None:
    """Whatever is said to be inside really is; the folder stands deep enough to climb."""
    links = {"a": data.draw(st.sampled_from(["b", "b/..", ".", "deep/er", "deep/er/../.."])), "deep/er/b": "../../a"}
    top = tmp_path_factory.mktemp("x") / "python"
    (top / "b").mkdir(parents=True)
    (top / "deep" / "er").mkdir(parents=True)
    for path, target in links.items():
        (top / path).symlink_to(target)
    found = archive.follow("/".join(way), links)
    real = Path(f"{top}/{'/'.join(way)}").resolve()
    if found is not None:
        assert (top / found).resolve() == real and real.is_relative_to(top)
