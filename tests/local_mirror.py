"""A mirror of python-build-standalone's releases on loopback: BUILD/FILE below one address, with ranges and faults.

In: a folder. Out: an address for UV_PYTHON_INSTALL_MIRROR. What was asked, and how many bytes went out, is kept.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

RANGE = re.compile(r"bytes=(\d+)-")


@dataclass
class LocalMirror:
    """What is served and how it misbehaves; change it while it runs.

    `faults` are used up one an answer: "503", "404", "cut" (the connection ends halfway), "reset" (before any answer),
    "no range" (the whole file, whatever was asked), "slow" (`pause_s` after each 64 KiB).
    """

    folder: Path
    faults: list[str] = field(default_factory=list)
    pause_s: float = 0.01
    asked: list[tuple[str, str]] = field(default_factory=list)
    sent: list[tuple[int, int]] = field(default_factory=list)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    mirror: LocalMirror

    def do_GET(self) -> None:
        mirror, asked = self.mirror, self.headers.get("Range", "")
        mirror.asked.append((self.path, asked))
        fault = mirror.faults.pop(0) if mirror.faults else ""
        if fault == "reset":
            return
        path = mirror.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if fault.isdigit() or not path.is_file():
            self.send_error(int(fault or 404))
            return
        data, wanted = path.read_bytes(), RANGE.fullmatch(asked)
        start = int(wanted[1]) if wanted and fault != "no range" else 0
        if start and start >= len(data):
            self._head(416, 0, f"bytes */{len(data)}")
            return
        self._head(
            206 if start else 200, len(data) - start, f"bytes {start}-{len(data) - 1}/{len(data)}" if start else ""
        )
        stop = (start + len(data)) // 2 if fault == "cut" else len(data)
        self._send(data, start, stop, mirror.pause_s if fault == "slow" else 0)

    def _head(self, status: int, length: int, span: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        # As some servers say of every file that ends in .gz.
        self.send_header("Content-Encoding", "x-gzip")
        if span:
            self.send_header("Content-Range", span)
        self.end_headers()

    def _send(self, data: bytes, start: int, stop: int, pause_s: float) -> None:
        while start < stop:
            chunk = data[start : min(stop, start + (1 << 16))]
            self.wfile.write(chunk)
            self.mirror.sent.append((start, start + len(chunk)))
            start += len(chunk)
            time.sleep(pause_s)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing: tests read `asked`."""


@contextmanager
def serving(mirror: LocalMirror) -> Iterator[LocalMirror]:
    """Serve a mirror for as long as the body runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": mirror}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that go away in the middle are what some tests are about
    mirror.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
