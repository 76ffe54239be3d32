"""Interpreter archives made in a moment, good and hostile, for tests of those who read them.

In: what to put in. Out: the bytes of a .tar.gz. `STUB` has the layout that the gate expects, around a program that is
an ELF header and no more: it cannot be run.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from dataclasses import dataclass

from checksums.manifest import Target

TARGET = Target("3.11", "x86_64", "2.28")
HEADER = b'#define PY_VERSION              "3.11.9"\n'
LICENCE = b"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n"


@dataclass(frozen=True)
class Member:
    """One entry: a file's `body`, or where a link leads; `kind` is tarfile's."""

    name: str
    body: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    mode: int = 0o644


def elf(machine: int = 62, glibc: str = "2.17", version: str = "3.11.9", bits: int = 2) -> bytes:
    """Return the beginning of an ELF file, and behind it the texts that a linker would have left."""
    head = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9) + struct.pack("<HH", 3, machine)
    return head + bytes(44) + f"\0libc.so.6\0GLIBC_{glibc}\0{version}\0".encode()


STUB = (
    Member("python/bin/python", kind=tarfile.SYMTYPE, target="python3.11"),
    Member("python/bin/python3.11", elf(), mode=0o755),
    Member("python/include/python3.11/patchlevel.h", HEADER),
    Member("python/lib/python3.11/LICENSE.txt", LICENCE),
    Member("python/lib/python3.11/os.py", b"# a module\n"),
)


def archive(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a .tar.gz of these members."""
    return gzip.compress(plain(*members, format=format), mtime=0)


def plain(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Return the tar of these members, not yet packed."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.linkname, info.mode = member.kind, member.target, member.mode
            info.size, info.mtime = len(member.body), 1_700_000_000
            tar.addfile(info, io.BytesIO(member.body))
    return stream.getvalue()


def without(name: str) -> tuple[Member, ...]:
    """Return the stub's members but one."""
    return tuple(member for member in STUB if not member.name.endswith(name))


def with_(*changed: Member) -> tuple[Member, ...]:
    """Return the stub's members with some replaced or added."""
    names = {member.name for member in changed}
    return (*(member for member in STUB if member.name not in names), *changed)
