"""Whose turn it is: jobs come in, and go out in an order that is fair between users.

The next turn is of the user with the fewest running, among those of the one who was served longest ago, among those of
who came first, and of one user's jobs of the oldest. Each choice of a job is a turn of its own. Requests without a
user are one user's.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from service.engine.jobs import Job

# So many users' last turns are remembered; who is forgotten counts as never served.
REMEMBERED = 10_000


@dataclass(eq=False)
class Turn:
    """One choice of a job, waiting or running; the decoder's thread keeps its progress."""

    job: Job
    index: int
    prompt_left: int
    written: int = 0


class Line:
    """The queue of turns. Not safe to use from two threads."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Turn]] = {}
        self._running: Counter[str] = Counter()
        # When each user was last served; the longest ago comes first.
        self._served: dict[str, int] = {}
        self._clock = 0

    def add(self, job: Job) -> None:
        """Queue a job's choices."""
        turns = (Turn(job, index, len(job.work.prompt)) for index in range(job.work.choices))
        self._lines.setdefault(job.user, deque()).extend(turns)

    def first(self) -> Turn | None:
        """Return whose turn it is."""
        return next(self.order(), None)

    def start(self, turn: Turn) -> None:
        """Take a turn that `first` gave out of the queue: it runs now."""
        user = turn.job.user
        self._remove(user, turn)
        self._running[user] += 1
        self._clock += 1
        self._served.pop(user, None)
        self._served[user] = self._clock
        if len(self._served) > REMEMBERED:
            del self._served[next(iter(self._served))]

    def end(self, turn: Turn) -> None:
        """Note that a turn runs no more."""
        self._running[turn.job.user] -= 1
        if not self._running[turn.job.user]:
            del self._running[turn.job.user]

    def discard(self, job: Job) -> int:
        """Take what still waits of a job out of the queue. Returns: how many turns."""
        own = [turn for turn in self._lines.get(job.user, ()) if turn.job is job]
        for turn in own:
            self._remove(job.user, turn)
        return len(own)

    def _remove(self, user: str, turn: Turn) -> None:
        line = self._lines[user]
        line.remove(turn)
        if not line:
            del self._lines[user]

    def order(self) -> Iterator[Turn]:
        """Yield the waiting turns in the order in which they would start if nobody else came and nobody ended."""
        heap = [
            (self._running[user], self._served.get(user, 0), line[0].job.arrived_s, user)
            for user, line in self._lines.items()
        ]
        heapq.heapify(heap)
        position = Counter[str]()
        clock = self._clock
        while heap:
            running, _, arrived_s, user = heap[0]
            yield self._lines[user][position[user]]
            position[user] += 1
            clock += 1
            if position[user] < len(self._lines[user]):
                heapq.heapreplace(heap, (running + 1, clock, arrived_s, user))
            else:
                heapq.heappop(heap)
