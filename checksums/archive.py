"""An interpreter archive: a gzipped tar that holds one folder, `python/`, as python-build-standalone's do.

Both sides read it here: the build side to refuse what a server could not unpack safely, the server to unpack it. A
stream goes in, every file's bytes go to a sink, and the list of entries comes out when all of it was proved: names that
stay inside, plain files, folders and links only, links that end inside. tarfile is not used: some versions never end on
a hostile file (CVE-2025-8194), and GNU tar and it disagree on others. Format: POSIX.1-2017 pax; GNU's long names.
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from checksums.errors import IntegrityError
from checksums.hashing import CHUNK_BYTES, Sink

TOP = "python"
BLOCK = 512
MAX_ARCHIVE_BYTES = 256 << 20  # install.sh has the same limit
MAX_ENTRIES = 100_000
MAX_UNPACKED_BYTES = 4 << 30
MAX_EXTRA_BYTES = 1 << 16  # a long name, a pax header
MAX_PADDING_BYTES = 1 << 20  # zeros behind the end
MAX_NAME_BYTES, MAX_PART_BYTES = 1000, 255
MAX_DEPTH = 64
MAX_HOPS = 40  # as Linux counts them
KINDS = {b"0": "file", b"\0": "file", b"5": "folder", b"2": "link", b"1": "twin"}
NO_KINDS = {b"3": "a device", b"4": "a device", b"6": "a pipe", b"7": "a reserved kind of file", b"S": "a sparse file"}
PAX_KEYS = {"path", "linkpath", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"}
HINT = "take a python-build-standalone archive of the kind install_only: cpython-….tar.gz"


@dataclass(frozen=True)
class Entry:
    """One entry, its path below `python/`. `target` is a link's own text, or the path of the file a twin is a hard
    link to; `mtime` counts seconds since 1970."""

    path: str
    kind: str
    size: int
    is_executable: bool
    mtime: int
    target: str = ""


Target = Callable[[Entry], AbstractContextManager[Sink]]


def read(stream: BinaryIO, target: Target) -> list[Entry]:
    """Read an archive to its end; every file goes to the sink that `target` opens for it. Links are only listed.

    Raises:
        IntegrityError: it is no such archive, or holds what no interpreter needs; files read before are not proved.
    """
    plain, tree = _Plain(stream), _Tree()
    try:
        for entry in _entries(plain):
            tree.add(entry)
            if entry.kind == "file":
                with target(entry) as sink:
                    plain.copy(sink, entry.size)
                plain.skip_zeros(-entry.size % BLOCK)
    except zlib.error as error:
        raise _bad(f"damaged: {error}") from error
    tree.check_links()
    return list(tree.entries.values())


class _Plain:
    """The bytes inside a gzip file, in order, each read once."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.decoder = zlib.decompressobj(wbits=31)
        self.buffer = b""

    def exactly(self, size_bytes: int) -> bytes:
        while len(self.buffer) < size_bytes:
            more = self._more()
            if not more:
                raise _bad("cut short")
            self.buffer += more
        found, self.buffer = self.buffer[:size_bytes], self.buffer[size_bytes:]
        return found

    def copy(self, sink: Sink, size_bytes: int) -> None:
        left = size_bytes
        while left:
            chunk = self.exactly(min(left, CHUNK_BYTES))
            sink.write(memoryview(chunk))
            left -= len(chunk)

    def skip_zeros(self, size_bytes: int) -> None:
        if any(self.exactly(size_bytes)):
            raise _bad("padding that is not zero")

    def end(self) -> None:
        """Expect nothing but some zeros, and the end of the file."""
        seen = len(self.buffer)
        while not any(self.buffer) and seen <= MAX_PADDING_BYTES:
            self.buffer = self._more()
            seen += len(self.buffer)
            if not self.buffer:
                return
        raise _bad("there is more behind its end")

    def _more(self) -> bytes:
        """Return the next bytes, none at the end of the gzip file, which must be the end of the stream."""
        while not self.decoder.eof:
            packed = self.decoder.unconsumed_tail or self.stream.read(CHUNK_BYTES)
            if not packed:
                raise _bad("cut short")
            if found := self.decoder.decompress(packed, CHUNK_BYTES):
                return found
        if self.decoder.unused_data or self.stream.read(1):
            raise _bad("there is more behind its end")
        return b""


class _Tree:
    """The entries so far, each checked against those before it."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.parents: set[str] = set()
        self.size_bytes = 0

    def add(self, entry: Entry) -> None:
        parts = entry.path.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if entry.path in self.entries:
            raise _bad(f"{_shown(entry.path)}: is there twice")
        if any(path in self.entries and self.entries[path].kind != "folder" for path in above):
            raise _bad(f"{_shown(entry.path)}: lies below something that is no folder")
        if entry.kind != "folder" and entry.path in self.parents:
            raise _bad(f"{_shown(entry.path)}: is the folder of others, and no folder")
        if entry.kind == "twin" and getattr(self.entries.get(entry.target), "kind", "") != "file":
            raise _bad(f"{_shown(entry.path)}: a hard link to what is no file before it")
        self.parents |= above
        self.entries[entry.path] = entry
        self.size_bytes += entry.size
        if len(self.entries) > MAX_ENTRIES or self.size_bytes > MAX_UNPACKED_BYTES:
            raise _bad(f"holds more than {MAX_ENTRIES} entries or {MAX_UNPACKED_BYTES} bytes")

    def check_links(self) -> None:
        """Follow every link as the kernel would, through other links; where it leaves the folder, refuse it."""
        links = {path: entry.target for path, entry in self.entries.items() if entry.kind == "link"}
        for path in links:
            if follow(path, links) is None:
                raise _bad(f"{_shown(path)}: a link that leads outside, or in a circle: {_shown(links[path])}")


def follow(path: str, links: dict[str, str]) -> str | None:
    """Return where a path below the folder really is, "" being the folder itself; None outside it or in a circle."""
    left, here, hops = path.split("/")[::-1], list[str](), 0
    while left:
        part = left.pop()
        if part == "..":
            if not here:
                return None
            here.pop()
        elif part not in {"", "."}:
            here.append(part)
        if (target := links.get("/".join(here))) is not None:
            here.pop()
            hops += 1
            if target.startswith("/") or hops > MAX_HOPS:
                return None
            left += target.split("/")[::-1]
    return "/".join(here)


def _entries(plain: _Plain) -> Iterator[Entry]:
    """Yield every entry; the bytes of a file have to be read before the next one."""
    names: dict[str, str] = {}
    extra: set[bytes] = set()
    while True:
        block = plain.exactly(BLOCK)
        if not any(block):
            plain.end()
            return
        kind, size = _checked(block), _number(block[124:136])
        if kind in {b"x", b"L", b"K"}:
            # One pax header, or one long name and one long target: readers differ on which of several counts.
            if size > MAX_EXTRA_BYTES or kind in extra or (extra and b"x" in {kind, *extra}):
                raise _bad("a name or a pax header without end, or several for one entry")
            extra.add(kind)
            body = plain.exactly(size)
            plain.skip_zeros(-size % BLOCK)
            key = {b"L": "path", b"K": "linkpath"}.get(kind)
            names |= {key: _text(body.rstrip(b"\0"))} if key else _records(body)
            continue
        entry = _entry(block, kind, size, names)
        names, extra = {}, set()
        if entry is not None:
            yield entry


def _entry(block: bytes, kind: bytes, size: int, names: dict[str, str]) -> Entry | None:
    """Return what a header announces; None for the folder `python/` itself."""
    name = names.get("path", _name(block))
    if kind not in KINDS:
        raise _bad(f"{_shown(name)}: is {NO_KINDS.get(kind, 'of a kind that is not carried')}")
    target = names.get("linkpath", _text(block[157:257].rstrip(b"\0")))
    is_folder = KINDS[kind] == "folder"
    path = _inside(name.rstrip("/") if is_folder else name)
    if is_folder and not path:
        return None
    if not path or (size and KINDS[kind] != "file"):
        raise _bad(f"{_shown(name)}: a header that makes no sense")
    if KINDS[kind] == "twin":
        target = _inside(target)
    elif KINDS[kind] == "link" and (not target or not target.isprintable() or len(target) > MAX_NAME_BYTES):
        raise _bad(f"{_shown(name)}: a link to nowhere")
    mode = _number(block[100:108])
    if mode & 0o7000:
        raise _bad(f"{_shown(name)}: runs as another user, or is sticky")
    return Entry(path, KINDS[kind], size, bool(mode & 0o111), _number(block[136:148]), target)


def _inside(name: str) -> str:
    """Return the path below `python/`."""
    top, *parts = name.split("/")
    good = all(
        part not in {"", ".", ".."} and part.isprintable() and len(part.encode()) <= MAX_PART_BYTES for part in parts
    )
    if top != TOP or not good or len(name.encode()) > MAX_NAME_BYTES or len(parts) > MAX_DEPTH:
        raise _bad(f"{_shown(name)}: not a path below {TOP}/")
    return "/".join(parts)


def _checked(block: bytes) -> bytes:
    """Return the kind of a header whose checksum holds."""
    if block[257:263] not in {b"ustar\0", b"ustar "}:
        raise _bad("no tar archive")
    if _number(block[148:156]) != sum(block[:148]) + 8 * 0x20 + sum(block[156:]):
        raise _bad("a damaged tar header")
    return block[156:157]


def _name(block: bytes) -> str:
    # GNU tar keeps other things where POSIX has the prefix.
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    name = block[:100].partition(b"\0")[0]
    return _text(prefix + b"/" + name if prefix else name)


def _number(field: bytes) -> int:
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise _bad("a number that cannot be, in a tar header")
    return int(digits or b"0", 8)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _bad(f"{data[:80]!r}: a name that is not UTF-8") from error


def _records(body: bytes) -> dict[str, str]:
    """Return the names that a pax header gives; what it says of times and owners is of no use here."""
    records: dict[str, str] = {}
    while body:
        digits, _, _ = body[:20].partition(b" ")
        size = int(digits) if digits.isdigit() else 0
        record, body = body[len(digits) + 1 : size], body[size:]
        key, _, value = _text(record).partition("=")
        whole = len(digits) + 1 + len(record) == size and record.endswith(b"\n")
        if not whole or key not in PAX_KEYS or key in records:
            raise _bad(f"a pax header with {_shown(key)}, which is not read here")
        records[key] = value[:-1]
    return {key: value for key, value in records.items() if key in {"path", "linkpath"}}


def _shown(text: str) -> str:
    return repr(text[:80])


def _bad(what: str) -> IntegrityError:
    return IntegrityError(what, HINT)
