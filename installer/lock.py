"""One change at a time: an exclusive lock on the prefix' own folder, which leaves no file and ends with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checksums.errors import FerryError


class Busy(FerryError):
    """Another process is at work on the installation; what is there is that one's."""


@contextmanager
def exclusive(prefix: Path) -> Iterator[None]:
    """Hold the lock of an installation whose prefix exists.

    Raises:
        Busy: somebody else holds it, the message says which process; or has just taken the folder away.
    """
    descriptor = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(descriptor, prefix)
        if not prefix.is_dir() or not os.path.samestat(os.fstat(descriptor), prefix.stat()):
            raise Busy(f"{prefix}: was removed meanwhile", "try again")
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, prefix: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(os.fstat(descriptor).st_ino)
        raise Busy(f"{prefix}: {holder} is changing it", "wait until it has ended, then try again") from error


def _holder(inode: int) -> str:
    """Say who locked an inode, by /proc/locks (proc(5): `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`)."""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return f"process {words[4]}"
    return "another process"
