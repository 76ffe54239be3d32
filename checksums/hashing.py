"""SHA-256 of files and streams, taken while the bytes are copied, so that nothing is read twice."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from checksums.errors import IntegrityError

CHUNK_BYTES = 1 << 20
OnBytes = Callable[[int], object]


class Sink(Protocol):
    """Where copied bytes go: a file, or anything else with `write`."""

    def write(self, data: memoryview, /) -> object:
        """Take all of `data`."""


def sha256_file(path: Path, on_bytes: OnBytes | None = None) -> str:
    """Return the SHA-256 of a file in hexadecimal; `on_bytes` is told the size of each chunk that was read."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if on_bytes:
                on_bytes(count)
    return digest.hexdigest()


def copy_hashing(source: BinaryIO, target: Sink, size_bytes: int, on_bytes: OnBytes | None = None) -> str:
    """Copy exactly `size_bytes` from `source` to `target` and return their SHA-256 in hexadecimal.

    Raises:
        IntegrityError: the source ends early.
    """
    digest = hashlib.sha256()
    left = size_bytes
    while left:
        chunk = source.read(min(CHUNK_BYTES, left))
        if not chunk:
            raise IntegrityError(f"cut short: {left} of {size_bytes} bytes are missing", "copy the bundle again")
        digest.update(chunk)
        target.write(memoryview(chunk))
        left -= len(chunk)
        if on_bytes:
            on_bytes(len(chunk))
    return digest.hexdigest()
