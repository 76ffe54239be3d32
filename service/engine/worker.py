"""The one thread that holds torch: it loads the model, proves it with a token, and then answers one job at a time.

The rest of the process sees its state and counters. Jobs come from the scheduler; decoding is left to answering.py.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.config import Engine
from service.engine.errors import Cancelled, EngineError, RequestError
from service.engine.jobs import Failed, Finished, Job, Started
from service.engine.scheduler import Scheduler
from service.notify import feed_watchdog, notify

if TYPE_CHECKING:
    from service.engine.answering import Answerer

log = logging.getLogger(__name__)
BEAT_S = 1.0


@dataclass
class Counters:
    """What /metrics shows; written by the worker alone."""

    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0


class Worker(threading.Thread):
    """Runs until the scheduler is closed; `on_end` is called from this thread when it ends, however it does."""

    def __init__(self, folder: Path, settings: Engine, scheduler: Scheduler, on_end: Callable[[], None]) -> None:
        # A daemon: a step in torch cannot be interrupted, and must not keep the process from ending in time.
        super().__init__(name="decoder", daemon=True)
        self.counters = Counters()
        self.answerer: Answerer | None = None
        self.failure = ""
        self._folder = folder
        self._settings = settings
        self._scheduler = scheduler
        self._on_end = on_end
        self._beaten = 0.0

    def run(self) -> None:
        try:
            self._work()
        except EngineError as error:
            self.failure = str(error)
            log.error("%s", error)
            if error.hint:
                log.error("hint: %s", error.hint)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            log.exception("the engine failed")
        finally:
            self._on_end()

    def _work(self) -> None:
        started = time.monotonic()
        # Here and not above: torch and transformers take seconds to import, and the socket is to answer meanwhile.
        from service.engine.answering import Answerer

        imported = time.monotonic()
        answerer = Answerer(self._folder, self._settings)
        answerer.prove()
        self.answerer = answerer
        now = time.monotonic()
        log.info("ready after %.1f s, of them %.1f s imports", now - started, imported - started)
        notify("READY=1")
        while self._scheduler.run_next(self._serve, BEAT_S):
            self._beat()

    def _beat(self) -> None:
        """Feed systemd's watchdog: between two steps and nowhere else, so that a decoder that hangs is noticed."""
        if time.monotonic() - self._beaten >= BEAT_S:
            self._beaten = time.monotonic()
            feed_watchdog()

    def _serve(self, job: Job) -> None:
        try:
            job.check()
            job.emit(Started())
            finished = self._answer(job)
        except Cancelled:
            self.counters.cancelled += 1
            job.give_up()
        except Exception:
            # Without the prompt: what people ask does not belong into the journal.
            log.exception("a request failed")
            self.counters.failed += 1
            job.emit(Failed(RequestError(500, "the engine could not make this answer", "engine_failed")))
        else:
            # Counted before it is told: who has read an answer finds it in the metrics.
            self.counters.finished += 1
            self.counters.prompt_tokens += finished.usage.prompt_tokens
            self.counters.generation_tokens += finished.usage.completion_tokens
            job.emit(finished)

    def _answer(self, job: Job) -> Finished:
        assert self.answerer, "jobs are served once the model is loaded"

        def check() -> None:
            self._beat()
            job.check()

        return self.answerer.answer(job, check)
