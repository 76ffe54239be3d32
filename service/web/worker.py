"""gunicorn's gevent worker, with an end to its patience: a client that stands still is let go of.

In: connections. Out: each in a greenlet of its own, which is all that a slow or stuck one costs. gunicorn itself gives
a request's head `keepalive` seconds to come, and waits without end for its body, or for room to send: a client that
never reads would keep its greenlet, its connection and the engine's slot for as long as it likes.
"""

from __future__ import annotations

import socket
from typing import Any

from gunicorn.workers.ggevent import GeventWorker

# Nothing came, or nothing could be sent, for so long. Whoever only reads an answer is never waited for.
PATIENCE_S = 60.0


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """One worker process."""

    def run(self) -> None:
        socket.setdefaulttimeout(PATIENCE_S)  # TLS greets before any request is there; gunicorn lifts it afterwards
        super().run()

    def handle_request(self, listener_name: Any, request: Any, client: socket.socket, address: Any) -> None:
        """Serve one request of a connection. Raises: StopIteration, gunicorn's sign that the connection is over."""
        client.settimeout(PATIENCE_S)
        try:
            super().handle_request(listener_name, request, client, address)
        except TimeoutError as error:
            raise StopIteration("the client stood still") from error
        client.settimeout(None)  # the next head has `keepalive` seconds
