"""SHA-256 of files and streams, taken while the bytes are copied, so that nothing is read twice."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol

from checksums.errors import IntegrityError

CHUNK_BYTES = 1 << 20
# Several places of one medium are read in turn: pieces this large keep a turning disk from mostly seeking.
PIECE_BYTES = 4 << 20
MAX_READERS = 8
CUT_SHORT = "copy the bundle again"
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
            raise IntegrityError(f"cut short: {left} of {size_bytes} bytes are missing", CUT_SHORT)
        digest.update(chunk)
        target.write(memoryview(chunk))
        left -= len(chunk)
        if on_bytes:
            on_bytes(len(chunk))
    return digest.hexdigest()


@dataclass(frozen=True)
class Range:
    """A piece of a file: where it begins and how many bytes it has."""

    start: int
    size_bytes: int


def sha256_ranges(descriptor: int, ranges: Sequence[Range], on_bytes: OnBytes | None = None) -> list[str]:
    """Return the SHA-256 of pieces of one open file, in the order given, hashed on all cores (hashlib frees them).

    Raises:
        IntegrityError: the file is shorter.
    """
    stop = Event()
    largest_first = sorted(range(len(ranges)), key=lambda number: -ranges[number].size_bytes)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_READERS)) as pool:
        try:
            found = pool.map(lambda number: _hash(descriptor, ranges[number], on_bytes, stop), largest_first)
            digests = dict(zip(largest_first, found, strict=True))
        finally:
            # Whatever ends this early, Ctrl-C for one, ends the readers within a piece.
            stop.set()
    return [digests[number] for number in range(len(ranges))]


def _hash(descriptor: int, place: Range, on_bytes: OnBytes | None, stop: Event) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(PIECE_BYTES, place.size_bytes)))
    at, end = place.start, place.start + place.size_bytes
    while at < end and not stop.is_set():
        count = os.preadv(descriptor, [buffer[: end - at]], at)
        if not count:
            raise IntegrityError(f"cut short: {end - at} of {place.size_bytes} bytes are missing", CUT_SHORT)
        # The next piece comes from the medium while this one is hashed.
        os.posix_fadvise(descriptor, at + count, PIECE_BYTES, os.POSIX_FADV_WILLNEED)
        digest.update(buffer[:count])
        at += count
        if on_bytes:
            on_bytes(count)
    return digest.hexdigest()
