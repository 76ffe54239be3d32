"""How long a service is away, as a client sees it that asks every 100 ms whether it could be answered now.

In: a container and an address in it. Out, after the block: the longest time between two good answers, in seconds.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from container import Container

PAUSE_S = 0.1


@dataclass
class Outage:
    """What was seen; `seconds` is 0 as long as nothing was."""

    seconds: float = 0
    asked: int = 0


@contextmanager
def watching(container: Container, port: int = 8080, path: str = "/readyz") -> Iterator[Outage]:
    """Ask from a thread of its own while the block lasts; it begins and ends with a good answer."""
    seen, is_over = Outage(), threading.Event()

    def ask() -> None:
        with container.network():
            last = time.monotonic()
            while not is_over.wait(PAUSE_S):
                seen.asked += 1
                if _is_good(port, path):
                    seen.seconds = max(seen.seconds, time.monotonic() - last)
                    last = time.monotonic()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
        # A last good answer ends the outage that is under way.
        time.sleep(5 * PAUSE_S)
    finally:
        is_over.set()
        thread.join()


def _is_good(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
