"""Numbers that worker processes share, so that whichever is asked answers for all of them.

The memory is made before the workers are forked, and each has a region of it to itself: nobody waits for a lock, and a
worker that is killed leaves what it counted to the next one of its region. A number is eight bytes that are written
at once, behind a name that is there before it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator

NUMBER = struct.Struct("=q")
NAME_BYTES = 120
SLOT_BYTES = NAME_BYTES + NUMBER.size
SLOTS = 64
REGIONS = 64


class Board:
    """The memory of all regions."""

    def __init__(self, regions: int = REGIONS) -> None:
        # Anonymous and shared: those who are forked later see the same bytes. What nobody writes to takes no memory.
        self._memory = mmap.mmap(-1, regions * SLOTS * SLOT_BYTES)
        self._regions = regions
        self._taken: set[int] = set()

    def take(self) -> int:
        """Give out a region that nobody has. Raises: StopIteration when there is none."""
        region = next(number for number in range(self._regions) if number not in self._taken)
        self._taken.add(region)
        return region

    def give_back(self, region: int, is_momentary: Callable[[str], bool]) -> None:
        """Free the region of a process that has ended; what was only true while it lived becomes 0."""
        for offset, name, _ in self._slots(region):
            if is_momentary(name):
                self._write(offset, 0)
        self._taken.discard(region)

    def page(self, region: int) -> Page:
        return Page(self, region)

    def sums(self) -> dict[str, int]:
        """Add up every region."""
        found: dict[str, int] = {}
        for region in range(self._regions):
            for _, name, value in self._slots(region):
                found[name] = found.get(name, 0) + value
        return found

    def values(self, name: str) -> list[int]:
        """Return what each region says under a name."""
        return [value for region in range(self._regions) for _, known, value in self._slots(region) if known == name]

    def _slots(self, region: int) -> Iterator[tuple[int, str, int]]:
        start = region * SLOTS * SLOT_BYTES
        for offset in range(start, start + SLOTS * SLOT_BYTES, SLOT_BYTES):
            name = self._memory[offset : offset + NAME_BYTES].rstrip(b"\0").decode()
            if not name:
                return
            yield offset, name, NUMBER.unpack_from(self._memory, offset + NAME_BYTES)[0]

    def _write(self, offset: int, value: int) -> None:
        NUMBER.pack_into(self._memory, offset + NAME_BYTES, value)

    def _name(self, offset: int, name: bytes) -> None:
        self._memory[offset : offset + len(name)] = name


class Page:
    """One process's region. Not safe to use from two threads."""

    def __init__(self, board: Board, region: int) -> None:
        self._board = board
        self._free = region * SLOTS * SLOT_BYTES
        self._end = self._free + SLOTS * SLOT_BYTES
        self._known: dict[str, tuple[int, int]] = {}
        for offset, name, value in board._slots(region):
            self._known[name] = (offset, value)
            self._free = offset + SLOT_BYTES

    def add(self, name: str, by: int) -> None:
        self.put(name, self._known.get(name, (0, 0))[1] + by)

    def put(self, name: str, value: int) -> None:
        """Raises: OverflowError for a name too long or one too many."""
        if name not in self._known:
            raw = name.encode()
            if len(raw) > NAME_BYTES or self._free >= self._end:
                raise OverflowError(name)
            self._board._name(self._free, raw)
            self._known[name] = (self._free, 0)
            self._free += SLOT_BYTES
        offset = self._known[name][0]
        self._known[name] = (offset, value)
        self._board._write(offset, value)
