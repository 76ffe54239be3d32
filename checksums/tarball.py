"""The tar format of a bundle: POSIX ustar, fixed owner, times and modes, regular files only, one top folder.

Both sides are here so that they cannot drift apart. The writer gives the same bytes for the same members; the reader
takes exactly what the writer gives, one member after the other, from a stream that is read once. A member whose path or
size does not fit ustar has a pax header before it, with `path` and `size` alone.
Format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format".
"""

import io
from dataclasses import dataclass
from typing import BinaryIO

from checksums.errors import IntegrityError
from checksums.hashing import OnBytes, Range, Sink, copy_hashing
from checksums.layout import safe_path

BLOCK = 512
MTIME = 315_532_800  # 1980-01-01: zip files know nothing older, and GNU tar warns of 1970-01-01
MAX_USTAR_SIZE = 8**11 - 1
MAX_NAME, MAX_PREFIX = 100, 155
MODES = {0o644: "0644", 0o755: "0755"}
RECOPY = "copy the bundle again from where it was made"


@dataclass(frozen=True)
class Member:
    """One file of the tarball: its path below the top folder, its size in bytes, its mode as octal text."""

    path: str
    size: int
    mode: str


def header(name: str, size_bytes: int, mode: str) -> bytes:
    """Return the 512-byte blocks that announce a file, with a pax header before them where ustar is too small."""
    prefix, base = _split(name)
    records = {} if base else {"path": name}
    if size_bytes > MAX_USTAR_SIZE:
        records["size"] = str(size_bytes)
    if not records:
        return _ustar(prefix, base, size_bytes, int(mode, 8), b"0")
    body = "".join(_record(key, value) for key, value in records.items()).encode()
    first = _ustar("", "pax", len(body), 0o644, b"x") + body + bytes(-len(body) % BLOCK)
    return first + _ustar(prefix, base or name[-MAX_NAME:], min(size_bytes, MAX_USTAR_SIZE), int(mode, 8), b"0")


def _split(name: str) -> tuple[str, str]:
    """Return ustar's prefix and name; ("", "") where neither fits. The shortest prefix wins, so there is one answer."""
    if len(name) <= MAX_NAME:
        return "", name
    for at, letter in enumerate(name):
        if letter == "/" and len(name) - at - 1 <= MAX_NAME:
            return (name[:at], name[at + 1 :]) if at <= MAX_PREFIX else ("", "")
    return "", ""


def _record(key: str, value: str) -> str:
    size = len(key) + len(value) + 3
    total = size + len(str(size))
    total = size + len(str(total))
    return f"{total} {key}={value}\n"


def _ustar(prefix: str, name: str, size_bytes: int, mode: int, kind: bytes) -> bytes:
    def number(value: int, width: int) -> bytes:
        return f"{value:0{width - 1}o}".encode() + b"\0"

    head = name.encode().ljust(100, b"\0") + number(mode, 8) + number(0, 8) + number(0, 8)
    head += number(size_bytes, 12) + number(MTIME, 12)
    tail = kind + bytes(100) + b"ustar\x0000" + bytes(64) + number(0, 8) + number(0, 8)
    tail += prefix.encode().ljust(MAX_PREFIX, b"\0") + bytes(12)
    checksum = sum(head) + sum(tail) + 8 * 0x20
    return head + f"{checksum:06o}".encode() + b"\0 " + tail


class TarWriter:
    """Writes members to a stream; the same members give the same bytes."""

    def __init__(self, stream: BinaryIO, top: str) -> None:
        self.stream = stream
        self.top = top

    def add(self, path: str, size_bytes: int, mode: str, source: BinaryIO, on_bytes: OnBytes | None = None) -> str:
        """Write one file and return the SHA-256 of what was written.

        Raises:
            IntegrityError: the path is unsafe, or the source holds fewer than `size_bytes`.
        """
        self.stream.write(header(f"{self.top}/{safe_path(path)}", size_bytes, mode))
        digest = copy_hashing(source, self.stream, size_bytes, on_bytes)
        self.stream.write(bytes(-size_bytes % BLOCK))
        return digest

    def close(self) -> None:
        """Write the end-of-archive mark; the stream stays open."""
        self.stream.write(bytes(2 * BLOCK))


class TarReader:
    """Reads members in their order from a stream, each byte once.

    Every method raises IntegrityError for what a bundle cannot be: no tar file, cut short, other members than plain
    files, other header bytes than `header` writes, anything after the end.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.top = ""
        self.left = 0
        self.padding = 0

    def next_member(self) -> Member | None:
        """Return the next file, or None behind the last one; the one before must have been copied."""
        if self.left or self.padding:
            raise ValueError("the member before was not read")
        first = self._exactly(BLOCK)
        if first == bytes(BLOCK):
            self._end()
            return None
        name, size, mode, raw = self._announced(first)
        top, _, path = name.partition("/")
        self.top = self.top or top
        if top != self.top or not path:
            raise IntegrityError(f"{name[:80]!r}: outside the bundle's one top folder", "this is no bundle of Ferry's")
        safe_path(path)
        if header(name, size, mode) != raw:
            raise IntegrityError(f"{path}: a tar header that Ferry does not write", RECOPY)
        self.left, self.padding = size, -size % BLOCK
        return Member(path, size, mode)

    def copy_to(self, target: Sink, on_bytes: OnBytes | None = None) -> str:
        """Copy the current member to `target` and return its SHA-256 in hexadecimal."""
        digest = copy_hashing(self.stream, target, self.left, on_bytes)
        self._end_member()
        return digest

    def skip(self) -> Range:
        """Pass over the current member of a stream that can seek; return where it is, for others to read."""
        place = Range(self.stream.tell(), self.left)
        if self.left:
            # Seeking goes past any end; the last byte has to be there.
            self.stream.seek(self.left - 1, io.SEEK_CUR)
            self._exactly(1)
        self._end_member()
        return place

    def _end_member(self) -> None:
        self.left = 0
        if any(self._exactly(self.padding)):
            raise IntegrityError("padding that is not zero", RECOPY)
        self.padding = 0

    def _announced(self, first: bytes) -> tuple[str, int, str, bytes]:
        name, size, mode, kind = _fields(first)
        if kind == b"0":
            return name, size, mode, first
        if kind != b"x" or size > BLOCK:
            what = {b"5": "a folder", b"2": "a symbolic link", b"1": "a hard link"}.get(kind, "no plain file")
            raise IntegrityError(f"{name[:80]!r}: is {what}", "a bundle carries plain files only")
        body = self._exactly(size + -size % BLOCK)
        second = self._exactly(BLOCK)
        name, size, mode, kind = _fields(second)
        records = _records(body[: _fields(first)[1]])
        if kind != b"0":
            raise IntegrityError("a pax header without its file", RECOPY)
        return records.get("path", name), int(records.get("size", size)), mode, first + body + second

    def _end(self) -> None:
        if self._exactly(BLOCK) != bytes(BLOCK):
            raise IntegrityError("the end-of-archive mark is damaged", RECOPY)
        if self.stream.read(1):
            raise IntegrityError("there is more behind the end of the bundle", RECOPY)

    def _exactly(self, size_bytes: int) -> bytes:
        data = self.stream.read(size_bytes)
        while 0 < len(data) < size_bytes and (more := self.stream.read(size_bytes - len(data))):
            data += more
        if len(data) != size_bytes:
            raise IntegrityError("the bundle is empty or cut short", RECOPY)
        return data


def _fields(block: bytes) -> tuple[str, int, str, bytes]:
    if block[257:265] != b"ustar\x0000":
        raise IntegrityError("not a bundle: no tar header where one must be", "check that the right file was given")
    try:
        name, prefix = (part.rstrip(b"\0").decode("ascii") for part in (block[:100], block[345:500]))
        size, mode = int(block[124:135], 8), MODES[int(block[100:107], 8)]
        if size < 0:
            raise ValueError(size)
    except (ValueError, KeyError) as error:
        raise IntegrityError("a tar header that Ferry does not write", RECOPY) from error
    return (f"{prefix}/{name}" if prefix else name), size, mode, block[156:157]


def _records(body: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    try:
        for line in body.decode("ascii").splitlines():
            key, _, value = line.partition(" ")[2].partition("=")
            records[key] = value
        if not set(records) <= {"path", "size"} or not records.get("size", "0").isdecimal():
            raise ValueError(body)
        if len(records.get("size", "")) > 15:
            raise ValueError(body)
    except ValueError as error:
        raise IntegrityError("a pax header that Ferry does not write", RECOPY) from error
    return records
