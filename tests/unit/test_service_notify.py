"""What systemd is told: by whichever kind of socket, and never at the price of the work itself."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service.notify import feed_watchdog, notify


def test_a_state_arrives_at_a_path_and_at_an_abstract_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for named, bound in ((str(tmp_path / "notify"), str(tmp_path / "notify")), ("@ferry-test", "\0ferry-test")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(bound)
            monkeypatch.setenv("NOTIFY_SOCKET", named)
            notify("READY=1")
            feed_watchdog()
            assert [manager.recv(100), manager.recv(100)] == [b"READY=1", b"WATCHDOG=1"]


def test_a_systemd_that_reads_late_or_is_gone_holds_up_no_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        # Far more than the kernel lets lie there.
        for _ in range(5000):
            feed_watchdog()
    feed_watchdog()
    with pytest.raises(ConnectionRefusedError):
        notify("READY=1")


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    feed_watchdog()
