"""Who is answered when: jobs come in from any thread and wait in a bounded, fair queue until the decoder has a slot.

The bounds are the operator's, for each user and in total; who waits is told the position and the expected wait. A job
that is withdrawn leaves the queue at once, or ends before the decoder's next step. How jobs are decoded together is
left to batch.py, how fast that goes is measured by pace.py.
"""

import math
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from service.config import Queue
from service.engine.errors import RequestError, invalid, unavailable
from service.engine.jobs import Job, Waiting, Work
from service.engine.line import Line, Turn
from service.engine.pace import Pace, Span, forecast

# Who waits is told at least so often, and not more often than that.
TELL_S = 3.0
TELL_AT_MOST_S = 0.5

Lent = TypeVar("Lent")


@dataclass
class _State:
    """What is known of a job: turns not ended yet, and what its client was told last."""

    left: int
    is_begun: bool = False
    told: Waiting | None = None
    told_s: float = 0.0


class Scheduler:
    """The queue and the running jobs. Safe to use from several threads."""

    def __init__(self, limits: Queue, slots: int = 1) -> None:
        self.slots = slots
        # What the longest sequence may have; known once the model is loaded.
        self.room_tokens = sys.maxsize
        self.pace = Pace()
        self._limits = limits
        self._changed = threading.Condition()
        self._line = Line()
        self._jobs: dict[Job, _State] = {}
        self._turns: list[Turn] = []
        self._is_closed = False
        self._told_s = 0.0

    @property
    def waiting(self) -> int:
        with self._changed:
            return sum(not state.is_begun for state in self._jobs.values())

    @property
    def running(self) -> int:
        with self._changed:
            return sum(state.is_begun for state in self._jobs.values())

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Raises: RequestError 429 when it is full, 503 when the engine is stopping, 400 for what can never have room.
        """
        if needed_tokens(job.work) > self.room_tokens:
            message = (
                f"prompt and answer may take {needed_tokens(job.work)} tokens, there is room for {self.room_tokens}"
            )
            raise invalid(message, code="context_length_exceeded")
        with self._changed:
            if self._is_closed:
                raise stopping()
            self._refuse_beyond_limits(job)
            self._jobs[job] = _State(job.work.choices)
            self._line.add(job)
            self._changed.notify_all()

    def _refuse_beyond_limits(self, job: Job) -> None:
        # Who left is gone with the next step: somebody who stops an answer may ask again at once.
        staying = [other for other in self._jobs if not other.is_withdrawn]
        own = sum(other.user == job.user for other in staying)
        if len(staying) >= self._limits.total:
            raise self._too_many(f"{len(staying)} requests are waiting or running already", "queue_full")
        # Without a name there is nobody to count for: only the total bounds those.
        if job.user and own >= (job.per_user or self._limits.per_user):
            message = f"{own} requests of this user are waiting or running already"
            raise self._too_many(message, "user_queue_full", job.user)

    def _too_many(self, message: str, code: str, user: str | None = None) -> RequestError:
        seconds = max(1, math.ceil(self._first_end_s(user) if user else self._drained_s()))
        return RequestError(429, f"{message}: try again in {seconds} s", code, headers={"Retry-After": str(seconds)})

    def _drained_s(self) -> float:
        """Estimate when one who came now would have a turn: then the queue has room again for whoever comes back."""
        return forecast(self.slots, self._running_s(), [*self._queued_s(), 0.0])[-1].start_s

    def _first_end_s(self, user: str) -> float:
        """Estimate when the first turn of this user ends."""
        running = [left for turn, left in zip(self._turns, self._running_s(), strict=True) if turn.job.user == user]
        waiting = [
            span.end_s for turn, span in zip(self._line.order(), self._spans(), strict=True) if turn.job.user == user
        ]
        return min(running or waiting)

    def _spans(self) -> list[Span]:
        return forecast(self.slots, self._running_s(), self._queued_s())

    def _running_s(self) -> list[float]:
        return [self._left_s(turn) for turn in self._turns]

    def _queued_s(self) -> list[float]:
        return [self._left_s(turn) for turn in self._line.order()]

    def _left_s(self, turn: Turn) -> float:
        return self.pace.seconds_left(turn.prompt_left, turn.written, turn.job.work.max_tokens)

    def withdraw(self, job: Job, error: RequestError | None = None) -> None:
        """Take a job out of the queue, or end it before its next step."""
        job.withdraw(error)
        with self._changed:
            state = self._jobs.get(job)
            if state is None:
                return
            state.left -= self._line.discard(job)
            if state.left:
                return
            del self._jobs[job]
            self._changed.notify_all()
        job.give_up()

    def wait(self, patience_s: float) -> bool:
        """Wait until there is something to do, at most `patience_s`. Returns: False once closed and all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed, patience_s)
            return bool(self._jobs) or not self._is_closed

    def admit(self, lend: Callable[[Turn], Lent | None]) -> list[tuple[Turn, Lent]]:
        """Start turns while there are slots, and while `lend` has for the next one what it needs."""
        started: list[tuple[Turn, Lent]] = []
        with self._changed:
            while len(self._turns) < self.slots and (turn := self._line.first()):
                lent = lend(turn)
                if lent is None:
                    # Nobody overtakes: a large request would wait for ever behind small ones.
                    break
                self._line.start(turn)
                self._turns.append(turn)
                self._jobs[turn.job].is_begun = True
                started.append((turn, lent))
        return started

    def end(self, turn: Turn) -> bool:
        """Free the slot of a turn. Returns: whether its job has no other left."""
        with self._changed:
            self._turns.remove(turn)
            self._line.end(turn)
            state = self._jobs[turn.job]
            state.left -= 1
            if state.left == 0:
                del self._jobs[turn.job]
            self._changed.notify_all()
            return state.left == 0

    def dismiss_late(self) -> None:
        """Send away who has waited too long."""
        now = time.monotonic()
        with self._changed:
            waiting = [job for job, state in self._jobs.items() if not state.is_begun]
        for job in waiting:
            if now - job.arrived_s >= self._limits.timeout_s:
                message = f"the request has waited {self._limits.timeout_s} s in the queue"
                self.withdraw(job, unavailable(message, "queue_timeout"))

    def report(self) -> None:
        """Tell those who wait where they stand."""
        now = time.monotonic()
        with self._changed:
            reports = self._reports(now) if now - self._told_s >= TELL_AT_MOST_S else []
        for job, news in reports:
            job.emit(news)

    def _reports(self, now: float) -> list[tuple[Job, Waiting]]:
        """Return what is news to those who wait: another position, another wait, or nothing for long."""
        self._told_s = now
        reports: list[tuple[Job, Waiting]] = []
        seen: set[Job] = set()
        for turn, span in zip(self._line.order(), self._spans(), strict=True):
            state = self._jobs[turn.job]
            if state.is_begun or turn.job in seen:
                continue
            seen.add(turn.job)
            report = Waiting(len(seen), round(span.start_s, 1))
            if _is_news(state.told, report) or now - state.told_s >= TELL_S:
                state.told, state.told_s = report, now
                reports.append((turn.job, report))
        return reports

    def close(self, grace_s: float) -> None:
        """Take no more jobs, send away those that wait, and end the running ones after `grace_s`."""
        with self._changed:
            self._is_closed = True
            waiting = [job for job, state in self._jobs.items() if not state.is_begun]
        for job in waiting:
            self.withdraw(job, stopping())
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._jobs, grace_s)
            running = list(self._jobs)
        for job in running:
            self.withdraw(job, stopping())
            # Told now: the step that the decoder is in may take longer than a stop.
            job.give_up()


def needed_tokens(work: Work) -> int:
    """Return how many tokens a choice may come to have in its cache; the last of an answer is never fed."""
    return len(work.prompt) + work.max_tokens - 1


def _is_news(told: Waiting | None, report: Waiting) -> bool:
    if told is None or told.position != report.position:
        return True
    return abs(told.wait_s - report.wait_s) > max(1.0, told.wait_s / 4)


def stopping() -> RequestError:
    return unavailable("the engine is stopping", "stopping")
