"""Work that would hold up every stream of a gevent worker: a function goes in, its result comes out of a thread.

Hashing a password takes 20 ms of a processor and 19 MiB, so no more than two at a time; who waits costs a greenlet.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

import gevent
from gevent import monkey

from service.web.errors import Refusal

AT_ONCE = 2
WAITING = 200  # more than that is no office that comes to work, but somebody who wants to keep it out
Result = TypeVar("Result")


class Aside:
    """A few threads beside the loop that serves."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._waiting = 0

    def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call the function where it holds up nobody. Raises: Refusal 503 when too many wait already."""
        if not monkey.is_module_patched("threading"):
            return function(*arguments)
        if self._waiting >= WAITING:
            raise Refusal(503, "busy", "Too many people log in at this moment. Try again.", retry_after="2")
        self._waiting += 1
        try:
            with self._places:
                return cast(Result, gevent.get_hub().threadpool.apply(function, arguments))
        finally:
            self._waiting -= 1
