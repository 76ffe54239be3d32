"""Notice that a browser or API client has gone away while its answer is still being made.

A WSGI server learns that only when it writes, and during prefill or in the queue there is nothing to write. So one
thread (a greenlet under gevent) waits for the client's end of the connection. In: the WSGI environment and what to
call. Out: `stop`, to be called when the response is closed.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from gevent import monkey

# gevent's own poll knows no POLLRDHUP, and this one is never told to wait.
_poll = monkey.get_original("select", "poll")
LOOK_EVERY_S = 0.25


def watch_client(environ: Mapping[str, Any], on_gone: Callable[[], None]) -> Callable[[], None]:
    """Call `on_gone` at most once when the client closes. Returns the function that ends the watch and waits for it."""
    client: socket.socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if client is None:
        return lambda: None
    wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    thread = threading.Thread(target=_watch, args=(client, wake_fd, on_gone), daemon=True)
    thread.start()

    def stop() -> None:
        # Joined before the server reads the next request from the same connection, so that the two never meet.
        os.eventfd_write(wake_fd, 1)
        if threading.current_thread() is not thread:
            thread.join()
        os.close(wake_fd)

    return stop


def _watch(client: socket.socket, wake_fd: int, on_gone: Callable[[], None]) -> None:
    ends: list[socket.socket | int] = [client, wake_fd]
    readable, _, _ = select.select(ends, [], [])
    while wake_fd not in readable:
        if _has_ended(client):
            on_gone()
            return
        # There is something to read, and it is not the end: a next request sent early, or TLS saying goodbye.
        readable, _, _ = select.select([wake_fd], [], [], LOOK_EVERY_S)


def _has_ended(client: socket.socket) -> bool:
    """Say whether the other end has closed; nothing is read, neither of the connection nor of the TLS within it."""
    poll = _poll()
    try:
        poll.register(client.fileno(), select.POLLRDHUP)
    except (OSError, ValueError):  # closed here meanwhile
        return True
    return bool(poll.poll(0))
