"""A new regular file, written from its beginning to its end: what is all zero stays a hole, and no byte gets lost.

A raw file's own `write` may take less than it is given (a disk that is nearly full); this one writes all or raises.
"""

import io
import os
from pathlib import Path
from typing import Any

from checksums.hashing import CHUNK_BYTES

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A hole is worth a look where a chunk is at least a block of the file system, and the look ends at the first byte set.
BLOCK_BYTES = 4096
ZEROS = bytes(CHUNK_BYTES)
FLUSH_BYTES = 32 << 20


class NewFile(io.RawIOBase):
    """A file that must not exist yet; closing it gives it its full size, holes and all."""

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        super().__init__()
        self.size_bytes = 0
        self._flushed = 0
        self._descriptor = os.open(path, FLAGS, mode)

    def writable(self) -> bool:
        """Say that it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Take all of `data`."""
        view = memoryview(data).cast("B")
        count = len(view)
        if _is_zero(view):
            self.size_bytes += count
            return count
        while view:
            written = os.pwrite(self._descriptor, view, self.size_bytes)
            self.size_bytes += written
            view = view[written:]
        self._write_behind()
        return count

    def sync(self) -> None:
        """Force everything to the disk."""
        os.ftruncate(self._descriptor, self.size_bytes)
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the file its full size and close it."""
        if not self.closed:
            try:
                os.ftruncate(self._descriptor, self.size_bytes)
            finally:
                os.close(self._descriptor)
        super().close()

    def _write_behind(self) -> None:
        """Let the disk begin with what was written, so that the final sync has little left to wait for."""
        if (count := self.size_bytes - self._flushed) >= FLUSH_BYTES:
            # On pages that are not written yet, this is Linux' way to start writing them without waiting.
            os.posix_fadvise(self._descriptor, self._flushed, count, os.POSIX_FADV_DONTNEED)
            self._flushed = self.size_bytes


def _is_zero(view: memoryview) -> bool:
    is_candidate = len(view) >= BLOCK_BYTES and view[:64] == ZEROS[:64]
    return is_candidate and view.tobytes() == ZEROS[: len(view)]
