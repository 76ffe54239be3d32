"""A package index on loopback that serves a folder of wheels, and misbehaves on demand (PEP 503)."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

RESET_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass
class IndexServer:
    """What is served: a folder of wheels, pages that stand for the real ones, faults by path, used up one by one."""

    folder: Path
    address: str = ""
    pages: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """What pip and uv are told."""
        return f"{self.address}/simple"

    def link(self, file: Path, attributes: str = "") -> str:
        """Return the line of a page that offers a file."""
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return f'<a href="{self.address}/files/{file.name}#sha256={digest}"{attributes}>{file.name}</a>\n'

    def page(self, name: str) -> bytes:
        """Return a package's page, empty where there is none."""
        files = (file for file in sorted(self.folder.iterdir()) if canonicalize_name(file.name.split("-")[0]) == name)
        return self.pages.get(name) or "".join(map(self.link, files)).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: IndexServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.index.requests.append(path)
        faults = self.index.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        if fault == "hang":
            self.index.released.wait(60)
        if fault.isdecimal():
            self._send(int(fault), b"out of order")
        elif fault.startswith("to "):
            self._send(302, b"", fault.removeprefix("to "))
        elif path.startswith("/simple/"):
            name = path.split("/")[2]
            page = self.index.page(name)
            self._send(200 if page else 404, page, kind=self.index.types.get(name, "text/html"))
        else:
            file = self.index.folder / path.removeprefix("/files/")
            found = path.startswith("/files/") and file.is_file()
            self._send(200 if found else 404, file.read_bytes() if found else b"", is_reset=fault == "reset")

    def _send(self, status: int, body: bytes, place: str = "", kind: str = "", is_reset: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        if place:
            self.send_header("Location", place)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if is_reset else body)
        if is_reset:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_ONCE)
            self.close_connection = True

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing: tests read `requests`."""


@contextmanager
def serving(folder: Path) -> Iterator[IndexServer]:
    """Serve a folder's wheels for as long as the body runs."""
    index = IndexServer(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index}))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that go away in the middle are what some tests are about
    index.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
