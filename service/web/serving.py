"""gunicorn's settings, read by it as a Python module: where to listen, and what a worker does beside serving.

`python -m service.web` hands over to gunicorn with this. gunicorn itself would tell systemd READY=1 before any worker
has booted, so __main__ hides NOTIFY_SOCKET from it under another name.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

import gevent

from service import config as configuration
from service.notify import feed_watchdog, notify
from service.paths import Paths
from service.web import HIDDEN_NOTIFY_SOCKET
from service.web import metrics as web_metrics
from service.web import rates as web_rates
from service.web.board import Board

_board = Board()
_rates = web_rates.Table()
_config = configuration.load(Paths.from_environment().config)

wsgi_app = "service.web.app:from_environment()"
bind = [_config.web.listen]
workers = _config.web.workers
worker_class = "service.web.worker.Worker"
worker_connections = 4000
keepalive = 15  # how long a request's head may take too, from its first byte on or from the request before
timeout = 30  # a worker that hangs is replaced after this; systemd's watchdog is for when gunicorn does not
graceful_timeout = 4  # open connections hold a stop up this long, and `systemctl stop` has to be done within 10 s
umask = 0o077
errorlog = "-"
forwarded_allow_ips = ""  # whose word is taken for the scheme: service.web.proxies
certfile = _config.web.tls_certificate or None
keyfile = _config.web.tls_key or None
control_socket_disable = True  # it would live in the home folder, which the service does not have
proc_name = "ferry-web"

# What was written by then of an answer that does not end when it is told to is kept at the next start.
END_S = 2.0
BEAT_S = 1.0
# At a stop an answer may come to its end so long. gunicorn looks once a second whether all have: this and two such
# seconds are graceful_timeout.
ANSWER_GRACE_S = 2.0


def pre_fork(_server: Any, worker: Any) -> None:
    worker.region = _board.take()


def post_fork(_server: Any, worker: Any) -> None:
    web_metrics.share(_board, worker.region)
    web_rates.share(_rates)


def child_exit(_server: Any, worker: Any) -> None:
    _board.give_back(worker.region, web_metrics.is_momentary)


def ssl_context(_settings: Any, _usual: Any) -> Any:
    """Return the context for TLS; gunicorn asks for it in each worker."""
    from service.web import tls

    return tls.server_context(_config.web)


def post_worker_init(worker: Any) -> None:
    """Tell systemd that a worker has loaded the app and is about to accept."""
    if address := os.environ.pop(HIDDEN_NOTIFY_SOCKET, ""):
        os.environ["NOTIFY_SOCKET"] = address
        notify("READY=1")
    if certfile:
        # Whoever breaks off a handshake, or speaks plain HTTP here, is no reason for a traceback in the journal.
        gevent.get_hub().NOT_ERROR += (ssl.SSLError, ConnectionError, TimeoutError)
    worker.log.info("Ferry serves on %s", _config.web.listen)
    gevent.spawn(_attend, worker)


def worker_exit(_server: Any, worker: Any) -> None:
    """End the answers that nobody follows: gunicorn waits for connections alone."""
    from service.web.services import KEY

    if app := getattr(worker, "wsgi", None):
        app.extensions[KEY].chat.end_all(END_S)


def on_exit(_server: Any) -> None:
    """Record the stop, in the process that gunicorn's workers come from."""
    from service.web import audit_life

    audit_life.stopped(Paths.from_environment(), _config)


def _attend(worker: Any) -> None:
    """Feed systemd's watchdog, and at a stop end the streams while their clients can still be told.

    A greenlet among those that serve: where something blocks them all, it blocks this one too.
    """
    # Not above: what this imports must not be imported before gevent has patched the standard library.
    from service.web.chat import CLOSING
    from service.web.services import KEY

    while worker.alive:
        feed_watchdog()
        gevent.sleep(BEAT_S)
    gevent.sleep(ANSWER_GRACE_S)
    worker.wsgi.extensions[KEY].engine.end_all(CLOSING)
