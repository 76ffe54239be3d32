"""How many requests somebody may send: a name comes in, the seconds to wait go out. For one worker process.

A bucket that holds a minute's requests and fills evenly. What a worker forgets when it ends does no harm.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

CAPACITY = 10_000


@dataclass
class Bucket:
    left: float
    at: float


class Rates:
    def __init__(self, per_minute: int) -> None:
        """`per_minute` 0: as many as they like."""
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, who: str, now: float | None = None) -> float:
        """Take one. Returns 0, or how many seconds until there is one again."""
        if not self._per_minute:
            return 0.0
        now, each_s = time.monotonic() if now is None else now, 60 / self._per_minute
        bucket = self._buckets.setdefault(who, Bucket(self._per_minute, now))
        self._buckets.move_to_end(who)
        bucket.left, bucket.at = min(bucket.left + (now - bucket.at) / each_s, self._per_minute), now
        if len(self._buckets) > CAPACITY:
            self._buckets.popitem(last=False)
        if bucket.left < 1:
            return (1 - bucket.left) * each_s
        bucket.left -= 1
        return 0.0
