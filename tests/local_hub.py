"""A ModelScope-compatible hub on loopback, as far as the real SDK asks one: the listing and the bytes, with ranges.

In: a folder of files and the id to serve it under. Faults are switched on by path while it runs. What was asked is kept
in `requests`, for tests that count. By hand: python tests/local_hub.py FOLDER --id Qwen/Qwen1.5-0.5B-Chat --port 8700
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROUTE = re.compile(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
COMMITTED = 1_706_672_042
LISTING = "LISTING"  # the listing's name among the faults


@dataclass
class LocalHub:
    """What is served and how it misbehaves; change it while it runs.

    `faults` maps a path (or LISTING) to: "404", "500", "cut" (the connection ends halfway), "garbage" (other bytes
    of the same length), "slow" (`delay_s` before the answer). `listed` overrides what the listing says of a path.
    """

    folder: Path
    model_id: str = "Qwen/Qwen1.5-0.5B-Chat"
    commit: str = "0123456789abcdef0123456789abcdef01234567"
    names_latest_commit: bool = True
    faults: dict[str, str] = field(default_factory=dict)
    listed: dict[str, dict[str, object]] = field(default_factory=dict)
    delay_s: float = 1.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    address: str = ""

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
        fault = self.hub.faults.get(asked, "")
        if fault == "slow":
            time.sleep(self.hub.delay_s)
        if route is None or route[1] != self.hub.model_id or fault == "404":
            self._send(404, b'{"Code": 10010205001, "Message": "not found", "Success": false}')
        elif fault == "500":
            self._send(500, b"out of order")
        elif asked == LISTING:
            self._send(200, json.dumps(self.hub.listing()).encode())
        else:
            self._send_file(self.hub.folder / asked, fault)

    def _send_file(self, path: Path, fault: str) -> None:
        if not path.is_file():
            self._send(404, b'{"Code": 404, "Message": "no such file", "Success": false}')
            return
        data = path.read_bytes()
        if fault == "garbage":
            data = bytes(byte ^ 1 for byte in data)
        wanted = RANGE.fullmatch(self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        end = min(int(wanted[2]) if wanted and wanted[2] else len(data) - 1, len(data) - 1)
        if wanted and start >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        headers = {"Content-Range": f"bytes {start}-{end}/{len(data)}"} if wanted else {}
        self._send(206 if wanted else 200, data[start : end + 1], headers, is_cut=fault == "cut")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, is_cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Accept-Ranges": "bytes", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        self.close_connection = self.close_connection or is_cut

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
    options = parser.parse_args()
    with serving(LocalHub(options.folder, options.id), options.port) as hub:
        print(hub.address, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
