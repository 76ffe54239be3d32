"""Where the audit log ends, kept beside the data and not beside the log: so that a log whose end was cut off is found.

In: the file FERRY_DATA/audit.anchor, which is also the lock that whoever appends holds. Out: an `Anchor`, and back.

`head` is on the disk for sure. `end` is written before the lines are: after a kill the log ends somewhere between the
two, and at rest both are the same. One write of less than a page: a reader under the lock sees it whole.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from service.web.audit_chain import START, Head

NAME = "audit.anchor"
SIZE_BYTES = 1024


@dataclass(frozen=True)
class Mark:
    """A place in the current file: the chain's head there, and how many bytes the file has up to it."""

    head: Head
    size: int


@dataclass(frozen=True)
class Anchor:
    """What is known of the log: its end, the current file's first line and day, and what the journal was told last."""

    head: Mark
    end: Mark
    first: int
    day: str
    told_seq: int = 0
    told_at: float = 0.0

    @classmethod
    def at(cls, mark: Mark, first: int, day: str) -> Anchor:
        return cls(mark, mark, first, day)

    def moved(self, mark: Mark) -> Anchor:
        """Return it with another end, which is not known to be on the disk."""
        return replace(self, end=mark)

    def synced(self, mark: Mark) -> Anchor:
        """Return it with `mark` known to be on the disk, unless more is known already."""
        return replace(self, head=mark) if mark.head.seq > self.head.head.seq else self


BEGINNING = Mark(START, 0)


@contextmanager
def locked(data: Path, is_shared: bool = False) -> Iterator[int]:
    """Hold the lock and give the anchor's descriptor; `is_shared` is for who only reads. Raises: OSError."""
    path = data / NAME
    flags = (os.O_RDONLY if is_shared else os.O_RDWR | os.O_CREAT) | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
            if _is_at(descriptor, path):  # a restore may have put another file there meanwhile
                yield descriptor
                return
        finally:
            os.close(descriptor)


def read(descriptor: int) -> Anchor | None:
    """Return the anchor, None when there is none or none that can be read."""
    try:
        found = json.loads(os.pread(descriptor, SIZE_BYTES, 0))
        return Anchor(**{**found, "head": _mark(found["head"]), "end": _mark(found["end"])})
    except (ValueError, KeyError, TypeError):
        return None


def write(descriptor: int, anchor: Anchor | None) -> None:
    """Write the anchor; None makes it as if there had never been one."""
    text = json.dumps(asdict(anchor) if anchor else None)
    os.pwrite(descriptor, text.ljust(SIZE_BYTES - 1).encode() + b"\n", 0)


def _mark(found: dict[str, Any]) -> Mark:
    return Mark(Head(int(found["head"]["seq"]), str(found["head"]["hash"])), int(found["size"]))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
