"""Choose ports of loopback that a test's server may take a moment later, beside other tests that do the same.

Below the ports that the kernel hands out by itself (Linux: from 32768), so that no client's connection is on one, and
in a row of its own for each process of the test run.
"""

from __future__ import annotations

import os
import socket
from itertools import count

FIRST, ROW, ROWS = 20_000, 250, 50
WORKER = "PYTEST_XDIST_WORKER"
_numbers = count()


def take_row(number: int) -> None:
    """Let this process choose in a row that none of its siblings with other numbers has."""
    os.environ[WORKER] = f"gw{number}"


def free_port() -> int:
    """Return a port that nobody listens on, and that no other test is told."""
    worker = os.environ.get(WORKER, "gw0").removeprefix("gw")
    row = (os.getppid() + int(worker)) % ROWS
    return next(port for number in _numbers if is_free(port := FIRST + row * ROW + number % ROW))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
