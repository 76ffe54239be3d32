"""Reading an answer while it is written, in the process that writes it or in another: see service.web.spool.

In: the writer, or the path of its file. Out: lines as they come.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

# How often another process' answer is looked at for what is new.
LOOK_EVERY_S = 0.02


class Source(Protocol):
    """The writer, as who follows in its process sees it."""

    def wait_beyond(self, offset: int, /) -> int: ...
    def wait_ended(self, timeout_s: float, /) -> bool: ...
    def read(self, offset: int, end: int, /) -> bytes: ...
    def release(self) -> None: ...


class Follower:
    """Reads an answer of this process: woken by every line. Close it in any case."""

    def __init__(self, source: Source, answer_id: int) -> None:
        """`source` is held already."""
        self.answer_id = answer_id
        self._source: Source | None = source
        self._begin = len(head_of(answer_id))

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines, as many as there are, until the writer has gone."""
        offset = self._begin
        while self._source is not None:
            end = self._source.wait_beyond(offset)
            if end == offset or self._source is None:
                return
            yield self._source.read(offset, end)
            offset = end

    def so_far(self) -> bytes:
        return self._source.read(self._begin, self._source.wait_beyond(0)) if self._source else b""

    def wait_ended(self, timeout_s: float) -> bool:
        return self._source is None or self._source.wait_ended(timeout_s)

    def close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.release()


class FarFollower:
    """Reads an answer of another process: looks again and again. Close it in any case."""

    def __init__(self, fd: int, answer_id: int) -> None:
        self.answer_id = answer_id
        self._fd = fd
        self._begin = len(head_of(answer_id))

    @classmethod
    def of(cls, path: Path) -> FarFollower | None:
        """Open a file that is being written, None when nobody holds it. Raises: FileNotFoundError."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        head = lines_from(fd, 0).partition(b"\n")[0]
        if head.isdigit() and is_locked(fd):
            return cls(fd, int(head))
        os.close(fd)
        return None

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines, as many as there are, until the writer has gone."""
        offset = self._begin
        while self._fd >= 0:
            is_held = is_locked(self._fd)  # before reading: nothing is written after it was let go
            data = lines_from(self._fd, offset)
            if data:
                offset += len(data)
                yield data
            elif is_held:
                time.sleep(LOOK_EVERY_S)
            else:
                return

    def so_far(self) -> bytes:
        return lines_from(self._fd, self._begin)

    def wait_ended(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while is_locked(self._fd):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def head_of(answer_id: int) -> bytes:
    """Return the line that a file begins with."""
    return b"%d\n" % answer_id


def is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def lines_from(fd: int, offset: int) -> bytes:
    """Return what there is of whole lines."""
    data = os.pread(fd, max(os.fstat(fd).st_size - offset, 0), offset)
    return data[: data.rfind(b"\n") + 1]
