"""Tell systemd how the service is doing, sd_notify(3): a state comes in, a datagram goes to the socket it named."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as "READY=1" or "STOPPING=1"; wait where systemd is busy."""
    _send(state, 0)


def feed_watchdog() -> None:
    """Say "still working". Neither waits nor fails: where systemd reads late, earlier ones are still to be read."""
    try:
        _send("WATCHDOG=1", socket.MSG_DONTWAIT)
    except OSError:
        return


def _send(state: str, flags: int) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the zero byte of an abstract socket.
    target = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(target)
        sender.send(state.encode(), flags)
