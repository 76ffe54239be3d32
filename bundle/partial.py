"""A file on its way from the network: what of it lies on this disk, and what is still to be fetched.

It is kept as a head, `NAME.part`, and pieces behind it, `NAME.part.START-STOP`. Each is only ever appended to, without
a buffer of ours, so **its size is its journal**: a byte counts as there from the moment that write(2) returned for it,
and a process that is killed at any instant loses nothing of it. A piece that is complete and touches the head's end is
moved into the head while others are still being fetched; a kill in the middle of that is taken up where it stopped.
"""

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 16 << 20
MAX_PIECES = 1000
COPY_BYTES = 1 << 20
SPAN = re.compile(r"(\d+)-(\d+)")


@dataclass
class Piece:
    """Bytes `start` up to `stop` of the file; the first `held_bytes` of them lie in `path`."""

    start: int
    stop: int
    path: Path
    held_bytes: int = 0

    @property
    def position(self) -> int:
        """Where in the file the next byte belongs."""
        return self.start + self.held_bytes

    @property
    def is_complete(self) -> bool:
        """Tell whether every byte is there."""
        return self.position == self.stop


def spans(size_bytes: int, head_bytes: int, found: Iterable[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """Divide a file into spans without gaps: the head's, those that are `found`, and new ones of `step` bytes at most.

    The head's comes first and holds at least what the head has; a found one that overlaps an earlier one is left out.
    """
    known = set(found)
    divided: list[tuple[int, int]] = []
    cursor = head_bytes
    for start, stop in [*sorted(known), (size_bytes, size_bytes)]:
        if not cursor <= start <= stop <= size_bytes:
            continue
        while cursor < start:
            divided.append((cursor, min(start, (cursor // step + 1) * step)))
            cursor = divided[-1][1]
        if start < stop:
            divided.append((start, stop))
            cursor = stop
    if divided and divided[0] not in known:
        return [(0, divided[0][1]), *divided[1:]]
    return [(0, head_bytes), *divided]


class Partial:
    """What of one file is there; threads may append to different pieces at the same time."""

    def __init__(self, folder: Path, name: str, size_bytes: int, step: int = 0) -> None:
        self.size_bytes = size_bytes
        self.head = folder / f"{name}.part"
        self._lock = threading.Lock()
        self._is_whole = False
        self.pieces = self._take_stock(step or max(PIECE_BYTES, size_bytes // MAX_PIECES))

    @property
    def held_bytes(self) -> int:
        """How much is there."""
        return sum(piece.held_bytes for piece in self.pieces)

    def append(self, piece: Piece, data: bytes) -> None:
        """Add bytes at the piece's position, in one write where the disk allows it."""
        with piece.path.open("ab", buffering=0) as file:
            view = memoryview(data)[: piece.stop - piece.position]
            while view:
                count = file.write(view)
                piece.held_bytes += count
                view = view[count:]

    def join(self) -> bool:
        """Move complete pieces into the head as far as it reaches; tell one caller, once, that it is the whole file."""
        with self._lock:
            while len(self.pieces) > 1 and all(piece.is_complete for piece in self.pieces[:2]):
                size = self._absorb(self.pieces[1].path, self.pieces[1].start)
                # A new piece: the old one may still be looked at by the thread that has just completed it.
                self.pieces[:2] = [Piece(0, size, self.head, size)]
            is_news = not self._is_whole and len(self.pieces) == 1 and self.pieces[0].is_complete
            self._is_whole = self._is_whole or is_news
            return is_news

    def as_one_stream(self) -> Piece:
        """Give up the pieces behind the head and return the one that is left: for hubs that send whole files only."""
        with self._lock:
            for piece in self.pieces[1:]:
                piece.path.unlink(missing_ok=True)
            self.pieces = [Piece(0, self.size_bytes, self.head, self.pieces[0].held_bytes)]
            return self.pieces[0]

    def discard(self) -> None:
        """Remove everything: it is not what it should be."""
        for path in [self.head, *self._found().values()]:
            path.unlink(missing_ok=True)

    def _take_stock(self, step: int) -> list[Piece]:
        head_bytes = _size(self.head)
        if head_bytes > self.size_bytes:
            self.head.unlink()
            head_bytes = 0
        found = self._found()
        for (start, stop), path in list(found.items()):
            is_whole = _size(path) == stop - start
            if start <= head_bytes < stop and is_whole and head_bytes:
                head_bytes = self._absorb(path, start)
            if start < head_bytes or not 0 < start < stop <= self.size_bytes or _size(path) > stop - start:
                path.unlink(missing_ok=True)
                del found[start, stop]
        divided = spans(self.size_bytes, head_bytes, found, step)
        for span in set(found) - set(divided):
            found[span].unlink()
        head, *others = divided
        pieces = [self._piece(start, stop, found) for start, stop in others]
        return [Piece(*head, self.head, head_bytes), *pieces]

    def _piece(self, start: int, stop: int, found: dict[tuple[int, int], Path]) -> Piece:
        path = found.get((start, stop)) or self.head.with_name(f"{self.head.name}.{start}-{stop}")
        return Piece(start, stop, path, _size(path))

    def _found(self) -> dict[tuple[int, int], Path]:
        """Return (start, stop) -> path of every piece on the disk, in order."""
        found = {}
        prefix = f"{self.head.name}."
        for path in self.head.parent.glob(f"{prefix}*"):
            if span := SPAN.fullmatch(path.name.removeprefix(prefix)):
                found[int(span[1]), int(span[2])] = path
        return dict(sorted(found.items()))

    def _absorb(self, path: Path, start: int) -> int:
        """Append what the head lacks of a complete piece, remove the piece, and return the head's new size."""
        with self.head.open("ab", buffering=0) as head, path.open("rb", buffering=0) as source:
            source.seek(head.tell() - start)
            while data := source.read(COPY_BYTES):
                view = memoryview(data)
                while view:
                    view = view[head.write(view) :]
            size = head.tell()
        path.unlink()
        return size


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
