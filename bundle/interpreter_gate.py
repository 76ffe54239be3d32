"""May this interpreter archive be carried to that target? A file goes in, what it holds comes out, or a refusal.

One pass over the archive, which is read as the server will read it: what must be there, every ELF file's machine and
the newest glibc that it asks for, the version in the headers and in the binary, the licence texts. Nothing is run: the
target may be of another architecture. ELF: System V ABI, "ELF Header".
"""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from checksums import archive
from checksums.archive import Entry
from checksums.errors import IntegrityError
from checksums.hashing import Sink
from checksums.layout import safe_path
from checksums.manifest import Target

MACHINES = {62: "x86_64", 183: "aarch64"}
ZSTD = b"\x28\xb5\x2f\xfd"
MAX_TEXT_BYTES = 1 << 20
OVERLAP_BYTES = 32
LICENCE = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)
LICENCE_OF_PYTHON = b"PYTHON SOFTWARE FOUNDATION LICENSE"
PY_VERSION = re.compile(rb'^#define\s+PY_VERSION\s+"(3\.\d{1,2}\.\d{1,3})"', re.MULTILINE)
# As the symbol versions stand in .dynstr; the last one is glibc 2.36's way to say that it packs relocations.
GLIBC = re.compile(rb"GLIBC_(?:2\.(\d{1,3})(?:\.\d+)?|ABI_(DT_RELR))\0")
DT_RELR_MINOR = 36
VERSION = re.compile(rb"(3\.\d{1,2}\.\d{1,3})\0")


@dataclass(frozen=True)
class Findings:
    """What an archive holds: "3.11.17", the bytes it takes unpacked, and path -> text of the licences."""

    version: str
    unpacked_bytes: int
    source_bytes: int
    license_texts: dict[str, bytes] = field(repr=False)


def examine(path: Path, target: Target) -> Findings:
    """Read an archive and prove that the target can use it.

    Raises:
        IntegrityError: it is no interpreter archive, is not safe to unpack, or is for something else.
    """
    try:
        return _examine(path, target)
    except IntegrityError as error:
        raise IntegrityError(f"{path.name}: {error.message}", error.hint) from error


def _examine(path: Path, target: Target) -> Findings:
    if path.stat().st_size > archive.MAX_ARCHIVE_BYTES:
        raise IntegrityError(f"larger than {archive.MAX_ARCHIVE_BYTES} bytes", archive.HINT)
    seen = _Seen(target)
    with path.open("rb") as stream:
        if stream.read(4) == ZSTD:
            raise IntegrityError("packed with zstd, which servers do not know", archive.HINT)
        stream.seek(0)
        entries = {entry.path: entry for entry in archive.read(stream, seen.open)}
    _check_files(entries, target)
    seen.check(entries)
    return Findings(
        version=seen.version,
        unpacked_bytes=sum(entry.size for entry in entries.values()),
        source_bytes=sum(entry.size for entry in entries.values() if entry.path.endswith(".py")),
        license_texts=seen.licences,
    )


def _check_files(entries: dict[str, Entry], target: Target) -> None:
    """Expect the layout that the installer relies on."""
    for path in (f"bin/python{target.python}", f"lib/python{target.python}/os.py"):
        if getattr(_real(path, entries), "kind", "") != "file":
            raise _unfit(f"{path} is missing: no Python {target.python} in the usual layout")
    program = _real(f"bin/python{target.python}", entries)
    if program is None or not program.is_executable:
        raise _unfit(f"bin/python{target.python} cannot be executed")


def _real(path: str, entries: dict[str, Entry]) -> Entry | None:
    """Return the entry that a path leads to through links."""
    found = archive.follow(path, {entry.path: entry.target for entry in entries.values() if entry.kind == "link"})
    entry = entries.get(found or "")
    return entries.get(entry.target) if entry and entry.kind == "twin" else entry


class _Seen:
    """What the files of an archive say, collected while they pass."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.versions: dict[str, set[str]] = {}
        self.elves: dict[str, _Elf] = {}
        self.licences: dict[str, bytes] = {}
        self.header = b""

    @property
    def version(self) -> str:
        """The version that the headers state, "" where they are missing."""
        found = PY_VERSION.search(self.header)
        return found[1].decode() if found else ""

    @contextmanager
    def open(self, entry: Entry) -> Iterator[Sink]:
        """Watch one file go by."""
        name = entry.path.rpartition("/")[2]
        is_header = entry.path == f"include/python{self.target.python}/patchlevel.h"
        is_text = is_header or LICENCE.match(name) or entry.path.startswith("licenses/")
        watch = _Watch(keeps=bool(is_text) and entry.size <= MAX_TEXT_BYTES)
        yield watch
        if watch.elf.is_elf:
            self.elves[entry.path] = watch.elf
        elif is_header:
            self.header = bytes(watch.text)
        elif watch.text and not name.endswith((".py", ".pyc")) and _is_safe(entry.path):
            self.licences[entry.path] = bytes(watch.text)

    def check(self, entries: dict[str, Entry]) -> None:
        """Hold what was seen against the target."""
        target = self.target
        for path, elf in sorted(self.elves.items()):
            if elf.machine != target.platform:
                raise _unfit(f"{path} is for {elf.machine}, the target is {target.platform}")
            if elf.glibc_minor > int(target.glibc.split(".")[1]):
                raise _unfit(f"{path} needs glibc 2.{elf.glibc_minor}, the target has {target.glibc}")
        self._check_program(entries)
        if not any(LICENCE_OF_PYTHON in text.upper() for text in self.licences.values()):
            raise _unfit(f"Python's licence is missing: lib/python{target.python}/LICENSE.txt")

    def _check_program(self, entries: dict[str, Entry]) -> None:
        name = f"bin/python{self.target.python}"
        program = self.elves.get(getattr(_real(name, entries), "path", ""))
        if program is None:
            raise _unfit(f"{name} is no program: not an ELF file")
        shared = [elf for path, elf in self.elves.items() if path.startswith(f"lib/libpython{self.target.python}.so")]
        if not any(elf.glibc_minor for elf in (program, *shared)):
            raise _unfit(f"{name} is not linked against glibc")
        if not self.version.startswith(f"{self.target.python}."):
            found = self.version or "none"
            raise _unfit(
                f"include/python{self.target.python}/patchlevel.h: version {found}, needed {self.target.python}"
            )
        if not any(self.version in elf.versions for elf in (program, *shared)):
            raise _unfit(f"{name} is not of the version that the headers state, {self.version}")


@dataclass
class _Elf:
    """An ELF file's machine, the newest glibc 2.N that it asks for (0: none), and texts that look like a version."""

    is_elf: bool = False
    machine: str = ""
    glibc_minor: int = 0
    versions: set[str] = field(default_factory=set)


class _Watch:
    """A sink that keeps a short text, or looks through an ELF file; both are known from the first bytes."""

    def __init__(self, keeps: bool) -> None:
        self.keeps = keeps
        self.elf = _Elf()
        self.text = bytearray()
        self.tail: bytes | None = None

    def write(self, data: memoryview, /) -> int:
        """Take the next bytes."""
        if self.tail is None:
            self.tail = b""
            self._begin(bytes(data[:20]))
        if self.elf.is_elf:
            self._search(self.tail + data)
            self.tail = bytes(data[-OVERLAP_BYTES:])
        elif self.keeps:
            self.text += data
        return len(data)

    def _begin(self, head: bytes) -> None:
        self.elf.is_elf = head.startswith(b"\x7fELF")
        if not self.elf.is_elf:
            return
        is_known = len(head) == 20 and head[4:6] == b"\x02\x01"
        number = struct.unpack_from("<H", head, 18)[0] if is_known else 0
        self.elf.machine = MACHINES.get(number, "another machine")

    def _search(self, data: bytes) -> None:
        for minor, relr in GLIBC.findall(data):
            self.elf.glibc_minor = max(self.elf.glibc_minor, DT_RELR_MINOR if relr else int(minor))
        self.elf.versions |= {version.decode() for version in VERSION.findall(data)}


def _is_safe(path: str) -> bool:
    try:
        return bool(safe_path(f"licenses/python/{path}"))
    except IntegrityError:
        return False


def _unfit(what: str) -> IntegrityError:
    return IntegrityError(what, "take an archive that was made for the profile's target")
