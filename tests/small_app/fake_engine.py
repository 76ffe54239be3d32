"""The engine of the small bundle: listens on its socket and says so; dies or ignores SIGTERM as the release says."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

behaviour = (Path(__file__).parent / "behaviour").read_text()
if "--wanted" in sys.argv:
    sys.exit(0 if 'url = ""' in Path(os.environ["FERRY_CONFIG"]).read_text() else 1)
if behaviour == "engine dies":
    sys.exit("error: these weights cannot be loaded")
if behaviour == "ignores SIGTERM":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

os.chdir(Path(os.environ["FERRY_SOCKET"]).parent)  # the whole path may be longer than a socket's address
Path("engine.sock").unlink(missing_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind("engine.sock")
Path("engine.sock").chmod(0o660)
listener.listen()
if address := os.environ.get("NOTIFY_SOCKET"):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", address)
while True:
    time.sleep(10)
    if address:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"WATCHDOG=1", address)
