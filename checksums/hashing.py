"""SHA-256 of files and streams, taken while the bytes are copied, so that nothing is read twice."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol

from checksums.errors import IntegrityError

CHUNK_BYTES = 1 << 20
# Several places of one medium are read in turn: large pieces keep a turning disk from mostly seeking. A large range is
# read ahead by so many of them while it is hashed: at most 80 MiB in all.
PIECE_BYTES = 2 << 20
PIECES_AHEAD = 4
MAX_READERS = 8
# A file of a few chunks is hashed sooner than a thread begins.
THREADED_BYTES = 8 << 20
CHUNKS_BEHIND = 4
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
    with _Behind(digest.update, is_threaded=size_bytes > THREADED_BYTES) as update:
        while left:
            chunk = source.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise IntegrityError(f"cut short: {left} of {size_bytes} bytes are missing", CUT_SHORT)
            update(chunk)
            target.write(memoryview(chunk))
            left -= len(chunk)
            if on_bytes:
                on_bytes(len(chunk))
    return digest.hexdigest()


class _Behind:
    """Calls a function with one chunk after the other, a few behind in a thread of its own where that pays."""

    def __init__(self, function: Callable[[bytes], object], is_threaded: bool) -> None:
        self._function = function
        self._pool = ThreadPoolExecutor(1) if is_threaded else None
        self._waiting: deque[Future[object]] = deque()

    def __enter__(self) -> Callable[[bytes], object]:
        return self._submit if self._pool else self._function

    def _submit(self, chunk: bytes) -> None:
        assert self._pool
        self._waiting.append(self._pool.submit(self._function, chunk))
        if len(self._waiting) > CHUNKS_BEHIND:
            self._waiting.popleft().result()

    def __exit__(self, *_: object) -> None:
        """Wait for what is left; whoever leaves by an error has no use for it, but the chunks are few."""
        if self._pool:
            self._pool.shutdown()


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
    for piece in _read_ahead(descriptor, place):
        if stop.is_set():
            break
        digest.update(piece)
        if on_bytes:
            on_bytes(len(piece))
    return digest.hexdigest()


def _read_ahead(descriptor: int, place: Range) -> Iterator[memoryview]:
    """Yield a range piece by piece, each until the next is asked for; another thread reads the next ones meanwhile."""
    end = place.start + place.size_bytes
    starts = range(place.start, end, PIECE_BYTES)
    if len(starts) <= 1:
        yield _read(descriptor, place, bytearray(place.size_bytes))
        return
    # The same few buffers again and again: fresh memory for each piece costs more than reading it from the page cache.
    buffers = cycle([bytearray(PIECE_BYTES) for _ in range(PIECES_AHEAD + 2)])
    waiting: deque[Future[memoryview]] = deque()
    with ThreadPoolExecutor(1) as reader:
        try:
            for at in starts:
                piece = Range(at, min(PIECE_BYTES, end - at))
                waiting.append(reader.submit(_read, descriptor, piece, next(buffers)))
                if len(waiting) > PIECES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            reader.shutdown(cancel_futures=True)


def _read(descriptor: int, piece: Range, buffer: bytearray) -> memoryview:
    view, done = memoryview(buffer)[: piece.size_bytes], 0
    while done < piece.size_bytes:
        count = os.preadv(descriptor, [view[done:]], piece.start + done)
        if not count:
            raise IntegrityError(f"cut short: {piece.size_bytes - done} bytes are missing", CUT_SHORT)
        done += count
    return view
