"""Who is answered when: jobs come in from any thread and wait in a bounded queue, one at a time goes to the decoder.

The bounds are the operator's, for each user and in total. A job that is withdrawn leaves the queue at once, or ends
before the decoder's next step. How a job is decoded is left to worker.py.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from service.config import Queue
from service.engine.errors import RequestError, unavailable
from service.engine.jobs import Job


class Scheduler:
    """The queue and the one running job. Safe to use from several threads."""

    def __init__(self, limits: Queue) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._is_closed = False
        # What a client is told to wait, until answers have been timed.
        self._job_s = 10.0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return int(self._running is not None)

    def submit(self, job: Job) -> None:
        """Put a job in the queue. Raises: RequestError 429 when it is full, 503 when the engine is stopping."""
        with self._changed:
            if self._is_closed:
                raise stopping()
            self._refuse_beyond_limits(job.user)
            self._waiting.append(job)
            self._changed.notify()

    def _refuse_beyond_limits(self, user: str) -> None:
        jobs = [*self._waiting, *([self._running] if self._running else [])]
        own = sum(job.user == user for job in jobs)
        if len(jobs) >= self._limits.total:
            raise self._too_many(f"{len(jobs)} requests are waiting or running already", "queue_full")
        # Without a name there is nobody to count for: only the total bounds those.
        if user and own >= self._limits.per_user:
            raise self._too_many(f"{own} requests of this user are waiting or running already", "user_queue_full")

    def _too_many(self, message: str, code: str) -> RequestError:
        seconds = max(1, round(self._job_s * (len(self._waiting) + self.running)))
        return RequestError(429, f"{message}: try again in {seconds} s", code, headers={"Retry-After": str(seconds)})

    def withdraw(self, job: Job, error: RequestError | None = None) -> None:
        """Take a job out of the queue, or end it before its next step."""
        job.withdraw(error)
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                job.give_up()

    def run_next(self, serve: Callable[[Job], None], patience_s: float) -> bool:
        """Serve the job that has waited longest; wait up to `patience_s` for one. Returns: False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed, patience_s)
            if not self._waiting:
                return not self._is_closed
            job = self._running = self._waiting.popleft()
        started = time.monotonic()
        try:
            serve(job)
        finally:
            # A moving average: the last few answers say how long the next will take.
            self._job_s += (time.monotonic() - started - self._job_s) / 4
            with self._changed:
                self._running = None
                self._changed.notify_all()
        return True

    def close(self, grace_s: float) -> None:
        """Take no more jobs, send away those that wait, and end the running one after `grace_s`."""
        with self._changed:
            self._is_closed = True
            while self._waiting:
                job = self._waiting.popleft()
                job.withdraw(stopping())
                job.give_up()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._running is None, grace_s)
            if self._running:
                self._running.withdraw(stopping())
                # Told now: the step that the decoder is in may take longer than a stop.
                self._running.give_up()


def stopping() -> RequestError:
    return unavailable("the engine is stopping", "stopping")
