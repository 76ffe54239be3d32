"""The decode loop's body: admitted turns come in, one step of the decoder goes over all of them, pieces go out.

Between two steps those who left are let go and new ones join. Every sequence has a cache of its own for as long as it
runs. Used from the decoder's thread alone.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from numpy import float32
from numpy.typing import NDArray

from service.engine.chooser import Chooser
from service.engine.decoding import Decoder, Feed
from service.engine.errors import RequestError
from service.engine.jobs import Finished, Job, Started, Timings, Usage
from service.engine.kv_pages import Cache, Caches
from service.engine.line import Turn
from service.engine.metrics import Metrics
from service.engine.pace import share_out
from service.engine.scheduler import Scheduler, needed_tokens
from service.engine.transcript import Transcript

log = logging.getLogger(__name__)
# So many steps in a row that fail are no accident: the engine ends, and systemd starts it anew.
MOST_FAILURES = 3


@dataclass(eq=False)
class Slot:
    """A turn while it is decoded. `tokens` are the prompt and the answer so far; the cache holds the first of them."""

    turn: Turn
    cache: Cache
    chooser: Chooser
    transcript: Transcript
    tokens: list[int]
    # When it last read a part of its prompt, counted in steps; when it last wrote a token.
    read_at: int = 0
    wrote_s: float = 0.0

    @property
    def left(self) -> int:
        return len(self.tokens) - len(self.cache.tokens)

    @property
    def is_decoding(self) -> bool:
        return self.transcript.count > 0

    def feed(self, count: int) -> Feed:
        start = len(self.cache.tokens)
        return Feed(self.cache.pages, start, self.tokens[start : start + count], count == self.left)

    def fed(self, count: int) -> None:
        start = len(self.cache.tokens)
        self.cache.tokens += self.tokens[start : start + count]
        self.turn.prompt_left = max(0, len(self.turn.job.work.prompt) - len(self.cache.tokens))


@dataclass
class Tally:
    """What a job's choices have come to, all together."""

    started_s: float = field(default_factory=time.monotonic)
    first_s: float = 0.0
    cached: int = 0
    completion: int = 0
    error: RequestError | None = None


OpenSlot = Callable[[Turn], tuple[Chooser, Transcript]]


class Batch:
    """The running sequences of a decoder; `open_slot` gives each what chooses and tells its tokens."""

    def __init__(self, decoder: Decoder, scheduler: Scheduler, metrics: Metrics, open_slot: OpenSlot) -> None:
        self._decoder = decoder
        self._scheduler = scheduler
        self._metrics = metrics
        self._open_slot = open_slot
        self._caches = Caches(decoder.page_count)
        self._slots: list[Slot] = []
        self._tallies: dict[Job, Tally] = {}
        self._steps = 0
        self._failures = 0

    @property
    def usage(self) -> float:
        """The share of all pages that running sequences hold, from 0 to 1."""
        return self._caches.usage

    def advance(self) -> None:
        """Let go of who left, let in who waits, and make one step. Raises: what the decoder does when it is broken."""
        for slot in [slot for slot in self._slots if slot.turn.job.is_withdrawn]:
            self._close(slot)
        self._scheduler.dismiss_late()
        for turn, cache in self._scheduler.admit(self._lend):
            self._begin(turn, cache)
        self._scheduler.report()
        self._metrics.kv_cache_usage = self.usage
        if self._slots:
            self._step()

    def _lend(self, turn: Turn) -> Cache | None:
        job = turn.job
        return self._caches.lend(job.user, job.conversation, job.work.prompt, needed_tokens(job.work))

    def _begin(self, turn: Turn, cache: Cache) -> None:
        job, now = turn.job, time.monotonic()
        if job not in self._tallies:
            self._tallies[job] = Tally(now)
            self._metrics.queue_s.observe(now - job.arrived_s)
            job.emit(Started())
        if turn.index == 0:
            self._tallies[job].cached = len(cache.tokens)
        self._metrics.prefix_cache_queries += len(job.work.prompt)
        self._metrics.prefix_cache_hits += len(cache.tokens)
        turn.prompt_left = len(job.work.prompt) - len(cache.tokens)
        try:
            chooser, transcript = self._open_slot(turn)
        except Exception as error:
            self._caches.give_back(cache)
            self._fail(job, error)
            self._leave(turn)
        else:
            self._slots.append(Slot(turn, cache, chooser, transcript, list(job.work.prompt)))

    def _step(self) -> None:
        shares = self._plan()
        feeds = [slot.feed(count) for slot, count in shares]
        started = time.monotonic()
        try:
            scores = self._decoder.step(feeds)
        except Exception as error:
            self._end_all(shares, error)
            return
        self._failures = 0
        decoding = sum(slot.is_decoding for slot, _ in shares)
        read = sum(count for slot, count in shares if not slot.is_decoding)
        self._scheduler.pace.observe(decoding, read, time.monotonic() - started)
        rows = iter(scores)
        for (slot, count), feed in zip(shares, feeds, strict=True):
            slot.fed(count)
            if feed.wants_scores:
                self._choose(slot, next(rows))

    def _plan(self) -> list[tuple[Slot, int]]:
        """Say how many tokens each sequence is fed: one where it writes, else a chunk of what is left of the prompt."""
        self._steps += 1
        decoding = [slot for slot in self._slots if slot.is_decoding]
        reading = sorted((slot for slot in self._slots if not slot.is_decoding), key=lambda slot: slot.read_at)
        rows = self._scheduler.pace.prefill_rows(len(decoding), self._decoder.max_rows)
        chunks = share_out([(len(slot.cache.tokens), slot.left) for slot in reading], rows)
        chosen = [(slot, count) for slot, count in zip(reading, chunks, strict=True) if count]
        for slot, _ in chosen:
            slot.read_at = self._steps
        return [*((slot, 1) for slot in decoding), *chosen]

    def _choose(self, slot: Slot, scores: NDArray[float32]) -> None:
        job = slot.turn.job
        self._time_token(slot)
        try:
            choice = slot.chooser.choose(scores)
            is_whole = slot.transcript.push(choice)
        except Exception as error:
            self._fail(job, error)
            self._close(slot)
            return
        slot.tokens.append(choice.token)
        self._metrics.generation_tokens += slot.transcript.count - slot.turn.written
        slot.turn.written = slot.transcript.count
        if is_whole:
            self._metrics.finished[slot.transcript.reason] += 1
            self._scheduler.pace.answered(slot.transcript.count)
            self._close(slot)

    def _time_token(self, slot: Slot) -> None:
        now, tally = time.monotonic(), self._tallies[slot.turn.job]
        if not slot.is_decoding:
            self._metrics.first_token_s.observe(now - slot.turn.job.arrived_s)
            if not tally.first_s:
                tally.first_s = now
                self._metrics.prompt_tokens += len(slot.turn.job.work.prompt)
        else:
            self._metrics.inter_token_s.observe(now - slot.wrote_s)
        slot.wrote_s = now

    def _fail(self, job: Job, error: Exception) -> None:
        """End a job for a reason of its own, or for one of ours."""
        if not isinstance(error, RequestError):
            # Without the prompt: what people ask does not belong into the journal.
            log.error("a request failed", exc_info=error)
            error = RequestError(500, "the engine could not make this answer", "engine_failed")
        self._tallies[job].error = error
        self._scheduler.withdraw(job, error)

    def _end_all(self, shares: list[tuple[Slot, int]], error: Exception) -> None:
        """A step failed: nobody knows what it has written where, so all that ran in it ends, and others go on."""
        for slot, _ in shares:
            self._caches.drop(slot.cache)
            self._fail(slot.turn.job, error)
        for slot, _ in shares:
            self._close(slot)
        self._failures += 1
        if self._failures == MOST_FAILURES:
            raise error

    def _close(self, slot: Slot) -> None:
        """Free a slot: its pages stay with the conversation, and its job may be over."""
        self._slots.remove(slot)
        if slot.cache.pages.numbers:
            self._caches.give_back(slot.cache)
        self._tallies[slot.turn.job].completion += slot.transcript.count
        self._leave(slot.turn)

    def _leave(self, turn: Turn) -> None:
        if self._scheduler.end(turn):
            self._conclude(turn.job, self._tallies.pop(turn.job))

    def _conclude(self, job: Job, tally: Tally) -> None:
        """Tell a job's client the end. Counted before it is told: who has read an answer finds it in the metrics."""
        now, work = time.monotonic(), job.work
        if tally.error:
            self._metrics.failed += 1
            job.give_up()
        elif job.is_withdrawn:
            self._metrics.cancelled += 1
            self._metrics.cancel_s.observe(now - job.withdrawn_s)
            job.give_up()
        else:
            self._metrics.answer_s.observe(now - job.arrived_s)
            read = len(work.prompt) - tally.cached
            times = Timings(tally.cached, read, tally.first_s - tally.started_s, tally.completion, now - tally.first_s)
            job.emit(Finished(Usage(len(work.prompt), tally.completion, tally.cached), times))
