"""One change at a time: an exclusive lock on the prefix' own folder, which leaves no file and ends with its holder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checksums.errors import FerryError
from installer import guard

# A guard has the lock for a moment, or, when it takes a change back, until the service answers.
GUARD_TIMEOUT_S = 600
# Whoever had it may have let it go just now.
GONE_TIMEOUT_S = 2
PAUSE_S = 0.1


class Busy(FerryError):
    """Another process is at work on the installation; what is there is that one's."""


@contextmanager
def exclusive(prefix: Path, waits: bool = False) -> Iterator[None]:
    """Hold the lock of an installation whose prefix exists; `waits` for whoever holds it, else for guards alone.

    Raises:
        Busy: somebody else holds it, the message says which process; or has just taken the folder away.
    """
    descriptor = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _take(descriptor, prefix, waits)
        if not prefix.is_dir() or not os.path.samestat(os.fstat(descriptor), prefix.stat()):
            raise Busy(f"{prefix}: was removed meanwhile", "try again")
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, prefix: Path, waits: bool) -> None:
    began = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(os.fstat(descriptor).st_ino)
            if not waits and time.monotonic() - began > _patience_s(holder):
                who = f"process {holder}" if holder else "another process"
                raise Busy(f"{prefix}: {who} is changing it", "wait until it has ended, then try again") from error
            time.sleep(PAUSE_S)
        else:
            return


def _patience_s(holder: int | None) -> float:
    if holder is None:
        return GONE_TIMEOUT_S
    return GUARD_TIMEOUT_S if guard.is_guard(holder) else 0


def _holder(inode: int) -> int | None:
    """Say who locked an inode, by /proc/locks (proc(5): `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`)."""
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None
