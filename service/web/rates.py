"""How many requests somebody may send: a name comes in, the seconds to wait go out. One count for all worker processes.

The generic cell rate algorithm (ITU-T I.371): of each name there stands when its requests will be forgotten, which each
moves on by its share of a minute; whoever is a minute ahead waits. The memory is made before the workers are forked.
Its places are in sets that a name's digest chooses from, and in a full set the name that is forgotten first gives way.
Nobody waits for a lock: two workers that write of the same name at once count one request where there were two.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import time

MINUTE_S = 60.0
PLACE = struct.Struct("=Qd")  # the name's digest, and when its requests are forgotten, in CLOCK_MONOTONIC's seconds
WAYS = 8
SETS = 4096


class Table:
    """The memory: places for 32,768 names, 512 KiB. What nobody writes to takes none."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, SETS * WAYS * PLACE.size)
        # Nobody outside can choose names that share a set.
        self._key = os.urandom(16)

    def place(self, who: str) -> tuple[int, int, float]:
        """Return a name's offset, its digest, and when its requests are forgotten: 0.0 where nothing is known."""
        digest = int.from_bytes(hashlib.blake2b(who.encode(), digest_size=8, key=self._key).digest(), "big")
        start = digest % SETS * WAYS * PLACE.size
        oldest, soonest = start, float("inf")
        for offset in range(start, start + WAYS * PLACE.size, PLACE.size):
            known, forgotten_at = PLACE.unpack_from(self.memory, offset)
            if known == digest:
                return offset, digest, forgotten_at
            if forgotten_at < soonest:
                oldest, soonest = offset, forgotten_at
        return oldest, digest, 0.0


_shared: Table | None = None


def share(table: Table) -> None:
    """Make this process count in a table that it shares; to be called before its Rates are made."""
    global _shared
    _shared = table


class Rates:
    def __init__(self, per_minute: int) -> None:
        """`per_minute` 0: as many as they like."""
        self._per_minute = per_minute
        self._table = _shared or Table()

    def take(self, who: str, now: float | None = None) -> float:
        """Take one. Returns 0, or how many seconds until there is one again."""
        if not self._per_minute:
            return 0.0
        now = time.monotonic() if now is None else now
        offset, digest, forgotten_at = self._table.place(who)
        forgotten_at = max(forgotten_at, now) + MINUTE_S / self._per_minute
        # Of sums of thirds and sevenths: a request is not refused for the last bit.
        if (wait_s := forgotten_at - now - MINUTE_S) > 1e-6:
            return wait_s
        PLACE.pack_into(self._table.memory, offset, digest, forgotten_at)
        return 0.0
