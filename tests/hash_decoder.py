"""A decoder without weights that is right or wrong to the last token, and an engine of it that a test drives by hand.

Its pages hold the tokens themselves, and the scores of what follows are drawn from a hash of every token before. So one
token of somebody else in a cache, or one in the wrong place, gives another answer at once. It also checks that it is
fed as decoding.py says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.config import Queue
from service.engine.batch import Batch
from service.engine.chooser import Chooser
from service.engine.decoding import PAGE_TOKENS, Feed
from service.engine.errors import RequestError
from service.engine.jobs import Ended, Event, Failed, Finished, Job, Piece, Work
from service.engine.line import Turn
from service.engine.metrics import Metrics
from service.engine.pace import Pace
from service.engine.scheduler import Scheduler
from service.engine.transcript import Transcript

VOCABULARY = 40
STOP_TOKEN = 0
NOTHING = -1
WIDE = Queue(per_user=100, total=100)


class HashDecoder:
    """Pages of tokens. `failing` is how many of the next steps fail."""

    def __init__(self, page_count: int, max_rows: int = 256) -> None:
        self.vocabulary = VOCABULARY
        self.context_tokens = page_count * PAGE_TOKENS
        self.page_count = page_count
        self.max_rows = max_rows
        self.failing = 0
        self.steps: list[list[Feed]] = []
        self._pages = np.full((page_count, PAGE_TOKENS), NOTHING)

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        self.steps.append(list(feeds))
        self._check(feeds)
        if self.failing:
            self.failing -= 1
            for feed in feeds:
                self._pages[feed.pages.numbers] = NOTHING
            raise RuntimeError("the decoder was told to fail")
        rows = [self._append(feed) for feed in feeds]
        return np.array([row for row, feed in zip(rows, feeds, strict=True) if feed.wants_scores], np.float32)

    def _check(self, feeds: Sequence[Feed]) -> None:
        pages = [number for feed in feeds for number in feed.pages.numbers]
        assert len(set(pages)) == len(pages), "two sequences share a page"
        assert 0 < sum(len(feed.tokens) for feed in feeds) <= self.max_rows
        for feed in feeds:
            assert feed.tokens
            assert feed.start + len(feed.tokens) <= len(feed.pages.numbers) * PAGE_TOKENS, "a sequence has no room"

    def _append(self, feed: Feed) -> NDArray[np.float32]:
        for position, token in enumerate(feed.tokens, feed.start):
            self._pages[feed.pages.numbers[position // PAGE_TOKENS], position % PAGE_TOKENS] = token
        whole = self._pages[feed.pages.numbers].flatten()[: feed.start + len(feed.tokens)]
        assert NOTHING not in whole, "a sequence goes on behind a hole"
        return scores_after(whole.tolist())


def scores_after(tokens: Sequence[int]) -> NDArray[np.float32]:
    """The scores of what follows these tokens."""
    digest = hashlib.sha256(str(list(tokens)).encode()).digest()
    return np.random.default_rng(list(digest[:8])).normal(size=VOCABULARY).astype(np.float32)


def spell(token: int) -> str:
    return chr(ord("A") + token)


def alone(work: Work, index: int = 0) -> str:
    """One choice of a work, computed without any cache, scheduler or neighbour."""
    chooser, tokens = Chooser(work.sampling, work.prompt, None, index), list(work.prompt)
    answer: list[int] = []
    while len(answer) < work.max_tokens:
        answer.append(chooser.choose(scores_after(tokens + answer)).token)
        if answer[-1] == STOP_TOKEN:
            return "".join(map(spell, answer[:-1]))
    return "".join(map(spell, answer))


class Client:
    """A request and all that it was told."""

    def __init__(self, work: Work, user: str = "", conversation: str = "", per_user: int = 0) -> None:
        self.events: list[Event] = []
        self.job = Job(work, user, conversation, self.events.append, per_user)

    def text(self, index: int = 0) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Piece) and event.index == index)

    @property
    def reasons(self) -> dict[int, str]:
        return {event.index: event.reason for event in self.events if isinstance(event, Ended)}

    @property
    def finished(self) -> Finished | None:
        return next((event for event in self.events if isinstance(event, Finished)), None)

    @property
    def error(self) -> RequestError | None:
        return next((event.error for event in self.events if isinstance(event, Failed)), None)

    @property
    def is_over(self) -> bool:
        return bool(self.finished or self.error)


class SteadyPace(Pace):
    """A speed that does not depend on how busy the machine is: a test says what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.row_s = 0.001

    def observe(self, decoding: int, prefilling: int, seconds: float) -> None:
        pass


class HandDriven:
    """A scheduler and a batch over a HashDecoder; nothing moves between two calls of `advance`."""

    def __init__(self, slots: int = 2, page_count: int = 32, limits: Queue = WIDE) -> None:
        self.decoder = HashDecoder(page_count)
        self.metrics = Metrics()
        self.scheduler = Scheduler(limits, slots)
        self.scheduler.pace = SteadyPace()
        self.scheduler.room_tokens = self.decoder.context_tokens
        self.batch = Batch(self.decoder, self.scheduler, self.metrics, open_slot)

    def submit(self, client: Client) -> Client:
        self.scheduler.submit(client.job)
        return client

    def advance(self) -> None:
        self.batch.advance()

    def run(self) -> None:
        """Go on until everybody is served."""
        for _ in range(100_000):
            if not self.scheduler.running + self.scheduler.waiting:
                return
            self.advance()
        raise AssertionError("somebody is never served")


def open_slot(turn: Turn) -> tuple[Chooser, Transcript]:
    work, emit = turn.job.work, turn.job.emit
    transcript = Transcript(work, turn.index, emit, _decode, lambda token: spell(token).encode(), {STOP_TOKEN})
    return Chooser(work.sampling, work.prompt, None, turn.index), transcript


def _decode(tokens: Sequence[int]) -> str:
    return "".join(map(spell, tokens))
