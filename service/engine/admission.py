"""A request's way into the queue: its works go to the scheduler one by one, their events come back as one answer.

A plain completion may have several prompts. Each is a job, but never two at once: such a request takes one place of
the queue, like any other, and only its first job may be turned away.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from service.engine.errors import RequestError
from service.engine.jobs import Ended, Event, Failed, Finished, Job, Piece, Started, Timings, Usage, Work
from service.engine.scheduler import Scheduler

# A job's place is free a moment after its last event.
RETRY_S = 0.05


@dataclass(frozen=True)
class Client:
    """Whose request it is, and which conversation it continues: both may be "", for nobody's and none.

    `per_user` is how many requests the user may have at once, 0 for as many as the settings say.
    """

    user: str
    conversation: str
    per_user: int = 0

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Client":
        """Read what the web tells of its caller, in headers of lower case."""
        limit = headers.get("x-ferry-per-user", "")
        per_user = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else 0
        return cls(headers.get("x-ferry-user", ""), headers.get("x-ferry-conversation", ""), per_user)


class Inbox:
    """Brings a job's events from the decoder's thread into the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, item: Event) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._events.put_nowait, item)

    async def get(self) -> Event:
        """Raises: RequestError when the job failed."""
        item = await self._events.get()
        if isinstance(item, Failed):
            raise item.error
        return item


class Admission:
    """One request from its first place in the queue on. Raises (when it is made): RequestError when there is none."""

    def __init__(self, scheduler: Scheduler, works: Sequence[Work], client: Client, timeout_s: int) -> None:
        self._scheduler = scheduler
        self._works = works
        self._client = client
        self._timeout_s = timeout_s
        self._inbox = Inbox()
        self._job = self._submit(works[0])

    def withdraw(self) -> None:
        """Nobody waits for the answer any more, or it is whole."""
        self._scheduler.withdraw(self._job)

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, Finished at the end. Raises: RequestError."""
        results: list[Finished] = []
        for number, work in enumerate(self._works):
            if number:
                self._job = await self._submit_next(work)
            async for item in self._events_of_job():
                if isinstance(item, Finished):
                    results.append(item)
                elif isinstance(item, Piece | Ended):
                    yield replace(item, index=item.index + number * work.choices)
                elif not (number and isinstance(item, Started)):
                    yield item
        yield _sum(results)

    async def _events_of_job(self) -> AsyncIterator[Event]:
        while True:
            item = await self._inbox.get()
            yield item
            if isinstance(item, Finished):
                return

    def _submit(self, work: Work) -> Job:
        job = Job(work, self._client.user, self._client.conversation, self._inbox.put, self._client.per_user)
        self._scheduler.submit(job)
        return job

    async def _submit_next(self, work: Work) -> Job:
        """Wait for a place. Raises: RequestError when none becomes free in time."""
        began = asyncio.get_running_loop().time()
        while True:
            try:
                return self._submit(work)
            except RequestError as error:
                if error.status != 429 or asyncio.get_running_loop().time() - began >= self._timeout_s:
                    raise
            await asyncio.sleep(RETRY_S)


def _sum(results: Sequence[Finished]) -> Finished:
    usages, timings = [result.usage for result in results], [result.timings for result in results]
    return Finished(
        Usage(
            sum(usage.prompt_tokens for usage in usages),
            sum(usage.completion_tokens for usage in usages),
            sum(usage.cached_tokens for usage in usages),
        ),
        Timings(
            sum(timing.cached_tokens for timing in timings),
            sum(timing.prompt_tokens_processed for timing in timings),
            sum(timing.prompt_s for timing in timings),
            sum(timing.predicted_tokens for timing in timings),
            sum(timing.predicted_s for timing in timings),
        ),
    )
