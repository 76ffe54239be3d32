"""Where a bundle is made: a fresh folder beside its final place, gone afterwards, whatever ended the work.

A killed run cannot clean up; the next one does it. Whose folder is still in use is told by a lock on it, which the
kernel drops with its owner. Where a file system has no such locks, nothing is cleared.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from checksums.errors import UsageError


@contextmanager
def workshop(out: Path, prefix: str) -> Iterator[Path]:
    """Yield a fresh folder inside `out`, on its file system, and remove those that killed runs left.

    Raises:
        UsageError: `out` cannot be written.
    """
    with ExitStack() as stack:
        try:
            out.mkdir(parents=True, exist_ok=True)
            # Nobody may clear between the making of a folder and its locking.
            with _opened(out) as door:
                _lock(door)
                _clear(out, prefix)
                name = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=out))
                _lock(stack.enter_context(_opened(Path(name))))
        except OSError as error:
            raise UsageError(f"{out}: {error.strerror}", "give a folder that can be written: --out DIR") from error
        yield Path(name)


def _clear(out: Path, prefix: str) -> None:
    for stale in out.glob(f"{prefix}*"):
        with suppress(OSError), _opened(stale) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale)


def _lock(descriptor: int) -> None:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
