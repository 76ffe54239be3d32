"""The web of the small bundle: /healthz, and /readyz once the engine's socket takes connections.

From schema 2 on it keeps colours, which an older release knows nothing of.
"""

import os
import re
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

behaviour = (Path(__file__).parents[1] / "behaviour").read_text()
run = os.open(Path(os.environ["FERRY_SOCKET"]).parent, os.O_PATH)


def is_ready() -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(f"/proc/self/fd/{run}/engine.sock") == 0 and behaviour != "never ready"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.path == "/healthz" or (self.path == "/readyz" and is_ready())
        self.send_response(200 if good else 503)
        self.end_headers()
        self.wfile.write(b"{}" if good else b'{"ready": false, "reason": "the engine is away"}')


data = Path(os.environ["FERRY_DATA"])
kept = Path(__file__).parents[1] / "schema"
schema = kept.read_text() if kept.exists() else "1"
(data / "schema").write_text(schema)  # as the real one migrates its tables when it starts
if schema >= "2" and not (data / "colours").exists():
    (data / "colours").write_text("rgb")
if behaviour == "spoils data":
    (data / "accounts").write_text("nobody")
    sys.exit("error: this web spoils what it finds")
if behaviour == "web dies":
    sys.exit("error: this web cannot start")
listen = re.search(r'^listen = "(.*):(\d+)"', Path(os.environ["FERRY_CONFIG"]).read_text(), re.MULTILINE)
assert listen
address = os.environ.get("NOTIFY_SOCKET")


def tell(state: bytes) -> None:
    if address:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(state, address)


class Server(ThreadingHTTPServer):
    def service_actions(self) -> None:
        """Feed systemd's watchdog: serve_forever calls this between two looks for requests."""
        tell(b"WATCHDOG=1")


server = Server((listen[1], int(listen[2])), Handler)
tell(b"READY=1")
server.serve_forever(poll_interval=5)
