"""Memory for the weights, ready before they are: a size comes in, arrays of zeros go out.

Most of what loading takes is the kernel's zeroing of new pages. Here a thread of its own makes it do so while another
one imports torch and transformers, which keeps one processor busy for seconds.
"""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# What the arrays may need beyond the estimate, to end at whole tiles and cache lines. It is not touched beforehand.
SLACK_BYTES = 64 << 20
PAGE_BYTES = 4096
# Touched between two looks at whether to go on.
STRETCH_BYTES = 16 << 20
CACHE_LINE_BYTES = 64


class Room:
    """So many bytes, and some more; what does not fit gets memory of its own. Only one thread may take from it."""

    def __init__(self, size_bytes: int) -> None:
        self._bytes: NDArray[np.uint8] = np.zeros(size_bytes + SLACK_BYTES, np.uint8)
        self._next = -self._bytes.ctypes.data % CACHE_LINE_BYTES
        self._is_wanted = threading.Event()
        self._thread = threading.Thread(target=self._touch, args=(size_bytes,), name="room", daemon=True)
        self._thread.start()

    def _touch(self, size_bytes: int) -> None:
        for start in range(0, size_bytes, STRETCH_BYTES):
            if self._is_wanted.is_set():
                return
            # Every page, for not everywhere are there huge ones. The interpreter is free meanwhile.
            self._bytes[start : min(start + STRETCH_BYTES, size_bytes) : PAGE_BYTES] = 0

    def take(self, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
        """Return an array of zeros that begins at a cache line. From now on pages are zeroed by who fills them."""
        self._end_touching()
        size = math.prod(shape) * np.dtype(kind).itemsize
        found = self._bytes[self._next : self._next + size]
        if len(found) < size:
            return np.zeros(shape, kind)
        self._next += size + -size % CACHE_LINE_BYTES
        return found.view(kind).reshape(shape)

    def free(self) -> None:
        """Give back what is not taken, where the weights are to stand elsewhere."""
        self._end_touching()
        self._bytes = np.zeros(0, np.uint8)

    def _end_touching(self) -> None:
        self._is_wanted.set()
        self._thread.join()
