"""The audit log's files as they were at one moment: open, measured under the lock, and read after it.

So nobody who reads holds up who writes; a file that gets another name or is removed meanwhile stays open.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.web import audit_anchor, audit_rotation
from service.web.audit_anchor import Anchor
from service.web.audit_chain import CURRENT


@dataclass(frozen=True)
class File:
    """An open file of the chain and the size it had."""

    name: str
    descriptor: int
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The chain's files, oldest first; the anchor, None where there is none; the names of what was put aside."""

    files: tuple[File, ...]
    anchor: Anchor | None
    stray: frozenset[str]

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)


@contextmanager
def snapshot(log: Path, data: Path) -> Iterator[Snapshot]:
    """Open everything as it is now. Raises: OSError."""
    taken = _taken(log, data)
    try:
        yield taken
    finally:
        for file in taken.files:
            os.close(file.descriptor)


def _taken(log: Path, data: Path) -> Snapshot:
    try:
        with audit_anchor.locked(data, is_shared=True) as descriptor:
            return _opened(log, audit_anchor.read(descriptor))
    except FileNotFoundError:
        return _opened(log, None)


def _opened(log: Path, anchor: Anchor | None) -> Snapshot:
    current = log / CURRENT
    paths = [*audit_rotation.rotated(log), *([current] if current.exists() else [])]
    files = []
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        files.append(File(path.name, descriptor, os.fstat(descriptor).st_size))
    return Snapshot(tuple(files), anchor, frozenset(path.name for path in log.glob("audit-stray-*")))


def read(file: File, start: int, end: int) -> bytes:
    """Return a file's bytes from `start` to `end`."""
    return read_descriptor(file.descriptor, start, end)


def read_descriptor(descriptor: int, start: int, end: int) -> bytes:
    found = bytearray()
    while len(found) < end - start and (more := os.pread(descriptor, end - start - len(found), start + len(found))):
        found += more
    return bytes(found)
