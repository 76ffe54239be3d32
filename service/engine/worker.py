"""The one thread that holds torch: it loads the model, proves it with a token, and then decodes what comes.

The rest of the process sees its state and counters. Jobs come from the scheduler; decoding them together is left to
batch.py.
"""

import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from service.config import Engine
from service.engine.errors import EngineError
from service.engine.memory import available_bytes, need, refuse_beyond
from service.engine.metrics import Metrics
from service.engine.room import Room
from service.engine.scheduler import Scheduler
from service.notify import feed_watchdog, notify

if TYPE_CHECKING:
    from service.engine.answering import Answerer

log = logging.getLogger(__name__)
BEAT_S = 1.0


class Worker(threading.Thread):
    """Runs until the scheduler is closed; `on_end` is called from this thread when it ends, however it does."""

    def __init__(
        self, folder: Path, cache: Path, settings: Engine, scheduler: Scheduler, on_end: Callable[[], None]
    ) -> None:
        # A daemon: a step in torch cannot be interrupted, and must not keep the process from ending in time.
        super().__init__(name="decoder", daemon=True)
        self.counters = Metrics()
        self.answerer: Answerer | None = None
        self.failure = ""
        self._folder = folder
        self._cache = cache
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
        needed = need(self._folder, self._settings)
        refuse_beyond(needed, available_bytes(), self._settings)
        room = Room(needed.weights_bytes)
        # Here and not above: torch and transformers take seconds to import, and the socket is to answer meanwhile.
        from service.engine.answering import Answerer
        from service.engine.batch import Batch
        from service.engine.proof import prove

        imported = time.monotonic()
        answerer = Answerer(self._folder, self._cache, self._settings, room)
        prove(answerer.decoder, self._scheduler.pace)
        batch = Batch(answerer.decoder, self._scheduler, self.counters, answerer.open_slot)
        self._scheduler.room_tokens = answerer.context_tokens
        pass_over_what_stays()
        now = time.monotonic()
        log.info("ready after %.1f s, of them %.1f s imports", now - started, imported - started)
        # Last: from here on /readyz says so, and jobs come.
        self.answerer = answerer
        notify("READY=1")
        while self._scheduler.wait(BEAT_S):
            batch.advance()
            self._beat()

    def _beat(self) -> None:
        """Feed systemd's watchdog: between two steps and nowhere else, so that a decoder that hangs is noticed."""
        if time.monotonic() - self._beaten >= BEAT_S:
            self._beaten = time.monotonic()
            feed_watchdog()


def pass_over_what_stays() -> None:
    """Let the garbage collector look only at what comes from now on, and at all of that each time it looks far back.

    By itself it does so when a quarter of all objects is new, and the libraries have 220,000 that stay. asyncio leaves
    a ring of five for a closed connection: those of 10,000 clients would lie about at once.
    """
    gc.collect()
    gc.freeze()
    # What it counts as staying is what it saw last: from now on nothing.
    gc.collect()
    gc.set_threshold(*gc.get_threshold()[:2], 1)
