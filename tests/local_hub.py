"""A ModelScope-compatible hub on loopback, as far as the real SDK asks one: the listing and the bytes, with ranges.

In: a folder of files and the id to serve it under. Faults are switched on by path while it runs. What was asked is kept
in `requests`, what was sent in `answers`, for tests that count. By hand:
python tests/local_hub.py FOLDER --id Qwen/Qwen1.5-0.5B-Chat --port 8700 [--rate BYTES-A-SECOND]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROUTE = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
COMMITTED = 1_706_672_042
LISTING = "LISTING"  # the listing's name among the faults
BLOCK_BYTES = 64 << 10


@dataclass
class Sent:
    """One answer with a file's bytes: its path, the first byte, and how many were written to the connection so far."""

    path: str
    start: int
    count: int = 0


@dataclass
class LocalHub:
    """What is served and how it misbehaves; change it while it runs.

    `faults` maps a path (or LISTING) to a status ("404", "500", …) or to: "cut" (the connection ends halfway), "reset",
    "garbage" (other bytes of the same length), "slow" (`delay_s` before the answer), "whole" (200 and the whole file
    whatever was asked), "shifted" (a Content-Range that is not the one asked), "resized" (one of another total),
    "astray" (a redirect to no address), "digits" (a Content-Range with a number of 5,000 digits),
    "longer" and "shorter" (no Content-Length; a byte too many, or half of it), "endless" (a listing without end).
    `fault_times` says how often a fault is answered before the hub recovers. `listed` overrides the listing of a path.
    `bytes_per_s` is the speed of all connections together, `on_bytes` is told how many bytes were sent in all.
    """

    folder: Path
    model_id: str = "Qwen/Qwen1.5-0.5B-Chat"
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    names_latest_commit: bool = True
    faults: dict[str, str] = field(default_factory=dict)
    fault_times: dict[str, int] = field(default_factory=dict)
    listed: dict[str, dict[str, object]] = field(default_factory=dict)
    delay_s: float = 1.0
    bytes_per_s: float = 0
    on_bytes: Callable[[int], None] | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    answers: list[Sent] = field(default_factory=list)
    address: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _due: float = 0.0

    def fault(self, asked: str) -> str:
        """Return how to misbehave this time."""
        with self._lock:
            left = self.fault_times.get(asked)
            if left is not None:
                self.fault_times[asked] = left - 1
            return self.faults.get(asked, "") if left is None or left > 0 else ""

    def count(self, sent: Sent, size: int) -> None:
        """Note bytes that were written, keep to the speed, and tell who wants to know."""
        with self._lock:
            sent.count += size
            total = sum(answer.count for answer in self.answers)
            if self.bytes_per_s:
                self._due = max(self._due, time.monotonic() - 0.01) + size / self.bytes_per_s
                time.sleep(max(0.0, self._due - time.monotonic()))
        if self.on_bytes:
            self.on_bytes(total)

    def listing(self) -> dict[str, object]:
        """Return the answer to GET …/repo/files in the real hub's shape."""
        paths = sorted(path for path in self.folder.rglob("*"))
        files = [self._entry(path) for path in paths]
        latest = {"Id": self.commit if self.names_latest_commit else "", "ShortId": "", "Message": ""}
        return {
            "Code": 200,
            "Data": {"Files": files, "IsVisual": 0, "LatestCommitter": latest},
            "Message": "success",
            "RequestId": "local",
            "Success": True,
        }

    def _entry(self, path: Path) -> dict[str, object]:
        name = path.relative_to(self.folder).as_posix()
        is_folder = path.is_dir()
        data = b"" if is_folder else path.read_bytes()
        entry: dict[str, object] = {
            "CommitMessage": "upload",
            "CommittedDate": COMMITTED + len(name),
            "CommitterName": "someone",
            "InCheck": False,
            "IsLFS": len(data) > 1 << 20,
            "Mode": "16384" if is_folder else "33188",
            "Name": path.name,
            "Path": name,
            "Revision": self.commit,
            "Sha256": "" if is_folder else hashlib.sha256(data).hexdigest(),
            "Size": len(data),
            "Type": "tree" if is_folder else "blob",
        }
        return entry | self.listed.get(name, {})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        route = ROUTE.fullmatch(url.path)
        asked = LISTING if route and route[2] else query.get("FilePath", url.path)
        self.hub.requests.append((asked, self.headers.get("Range", "")))
        fault = self.hub.fault(asked)
        if fault == "slow":
            time.sleep(self.hub.delay_s)
        if fault == "reset":
            self._reset()
        elif route is None or route[1] != self.hub.model_id:
            self._send(404, b'{"Code": 10010205001, "Message": "not found", "Success": false}')
        elif fault.isdigit():
            self._send(int(fault), b'{"Code": 1, "Message": "out of order", "Success": false}', {"Retry-After": "0"})
        elif fault == "astray":
            self._send(302, b"", {"Location": "http://a..b/"})
        elif asked == LISTING:
            self._send_listing(fault)
        else:
            self._send_file(self.hub.folder / asked, asked, fault)

    def _send_listing(self, fault: str) -> None:
        data = json.dumps(self.hub.listing()).encode()
        if fault == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b" " * BLOCK_BYTES)
        self._send(200, b"<html>" if fault == "garbage" else data, is_cut=fault == "cut")

    def _send_file(self, path: Path, name: str, fault: str) -> None:
        if not path.is_file():
            self._send(404, b'{"Code": 404, "Message": "no such file", "Success": false}')
            return
        size = path.stat().st_size
        wanted = RANGE.fullmatch(self.headers.get("Range", "")) if fault != "whole" else None
        start = int(wanted[1]) if wanted else 0
        end = min(int(wanted[2]) if wanted and wanted[2] else size - 1, size - 1)
        if wanted and start >= size:
            self._send(416, b"", {"Content-Range": f"bytes */{size}"})
            return
        said, total = (start + 1 if fault == "shifted" else start), (size + 1 if fault == "resized" else size)
        headers = {"Content-Range": f"bytes {said}-{end}/{total}"} if wanted else {}
        if fault == "digits":
            headers = {"Content-Range": f"bytes {start}-{end}/{'9' * 5000}"}
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(end + 1 - start)
        if fault == "garbage":
            body = bytes(byte ^ 1 for byte in body)
        sent = Sent(name, start)
        self.hub.answers.append(sent)
        if fault in ("longer", "shorter"):
            self._send_without_length(body + b"x" if fault == "longer" else body[: len(body) // 2], headers)
        else:
            self._send(206 if wanted else 200, body, headers, is_cut=fault == "cut", sent=sent)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        is_cut: bool = False,
        sent: Sent | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Accept-Ranges": "bytes", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        body = body[: len(body) // 2] if is_cut else body
        for position in range(0, len(body), BLOCK_BYTES):
            block = body[position : position + BLOCK_BYTES]
            self.wfile.write(block)
            if sent:
                self.hub.count(sent, len(block))
        self.close_connection = self.close_connection or is_cut

    def _send_without_length(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(206 if headers else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def _reset(self) -> None:
        """End the connection with a RST instead of a FIN: what a broken middlebox does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing: tests read `requests`."""


@contextmanager
def serving(hub: LocalHub, port: int = 0) -> Iterator[LocalHub]:
    """Serve a hub on loopback for as long as the body runs; `hub.address` is where."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that go away in the middle are what some tests are about
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder as a ModelScope hub on loopback.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--id", default="Qwen/Qwen1.5-0.5B-Chat")
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--rate", type=float, default=0, help="bytes a second, all connections together")
    options = parser.parse_args()
    with serving(LocalHub(options.folder, options.id, bytes_per_s=options.rate), options.port) as hub:
        print(hub.address, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
