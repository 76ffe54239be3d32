"""gunicorn's settings, read by it as a Python module: where to listen, and how a worker says that it serves.

`python -m service.web` hands over to gunicorn with this. gunicorn itself would tell systemd READY=1 before any worker
has booted, so __main__ hides NOTIFY_SOCKET from it under another name.
"""

from __future__ import annotations

import os
from typing import Any

from service import config as configuration
from service.notify import notify
from service.paths import Paths
from service.web import HIDDEN_NOTIFY_SOCKET

_config = configuration.load(Paths.from_environment().config)

wsgi_app = "service.web.app:from_environment()"
bind = [_config.web.listen]
workers = 1
worker_class = "gevent"
worker_connections = 4000
keepalive = 15
timeout = 60
graceful_timeout = 4  # open connections hold a stop up this long, and `systemctl stop` has to be done within 10 s
umask = 0o077
errorlog = "-"
control_socket_disable = True  # it would live in the home folder, which the service does not have
proc_name = "ferry-web"


def post_worker_init(worker: Any) -> None:
    """Tell systemd that a worker has loaded the app and is about to accept."""
    if address := os.environ.pop(HIDDEN_NOTIFY_SOCKET, ""):
        os.environ["NOTIFY_SOCKET"] = address
        notify("READY=1")
    worker.log.info("Ferry serves on %s", _config.web.listen)
