"""The web under systemd's eyes: it feeds the watchdog as long as it serves, and at a stop every stream gets its end."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from web_process import WebProcess, web_process

STREAMS = 20


@contextmanager
def watched(folder: Path) -> Iterator[tuple[WebProcess, socket.socket]]:
    """Run the web with a socket that stands for systemd's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(30)
        environment = {"NOTIFY_SOCKET": str(folder / "notify")}
        # SQLite: its lock is what a test blocks a worker with, and a second one would serve meanwhile.
        with web_process(folder, "workers = 1\n", environment=environment, database="sqlite") as web:
            assert manager.recv(100) == b"READY=1"
            yield web, manager


def drain(manager: socket.socket) -> None:
    """Read what lies there already."""
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        while manager.recv(100):
            pass


def test_the_web_feeds_the_watchdog_and_a_worker_that_is_blocked_does_not(tmp_path: Path) -> None:
    with watched(tmp_path) as (web, manager), ThreadPoolExecutor(1) as pool:
        web.add_user("alice")
        browser = web.login("alice")
        assert manager.recv(100) == b"WATCHDOG=1"
        with sqlite3.connect(web.data / "ferry.db", isolation_level=None) as other:
            # sqlite waits for this lock in C, and so does everything else in the worker.
            other.execute("BEGIN EXCLUSIVE")
            blocked = pool.submit(browser.post, "/api/conversations")
            with pytest.raises(httpx.TimeoutException), web.client() as client:
                client.get("/healthz", timeout=1.5)
            drain(manager)
            manager.settimeout(2.5)
            with pytest.raises(TimeoutError):
                manager.recv(100)
            other.execute("ROLLBACK")
        assert blocked.result(30).status_code == 201
        manager.settimeout(30)
        assert manager.recv(100) == b"WATCHDOG=1"


def test_at_a_stop_every_stream_ends_with_an_event_that_says_so(tmp_path: Path) -> None:
    """Also beside a client that has stopped reading."""
    with web_process(tmp_path) as web, ExitStack() as open_streams:
        headers = {"Authorization": f"Bearer {web.add_key('script')}"}
        client, deaf = open_streams.enter_context(web.client()), open_streams.enter_context(web.connect())
        client.headers.update(headers)
        deaf.sendall(raw(headers, question("slow 100000")))
        streams = [
            open_streams.enter_context(client.stream("POST", PATH, json=question("slow 400"))) for _ in range(20)
        ]
        lines = [stream.iter_lines() for stream in streams]
        assert all("piece 3 " in next(line for line in each if "piece 3 " in line) for each in lines)
        web.process.send_signal(signal.SIGTERM)
        for each in lines:
            *_, last = (line for line in each if line)
            assert json.loads(last.removeprefix("data: "))["error"]["message"] == "Ferry is being stopped"
        assert web.process.wait(10) == 0
        web.engine.wait_until_gone(STREAMS + 1)


def test_at_a_stop_a_conversation_is_told_and_keeps_what_had_come(tmp_path: Path) -> None:
    with web_process(tmp_path) as web:
        web.add_user("alice")
        browser = web.login("alice")
        conversation = browser.post("/api/conversations").json()["id"]
        path = f"/api/conversations/{conversation}"
        with browser.stream("POST", f"{path}/messages", json={"content": "slow 400"}) as answer:
            lines = answer.iter_lines()
            next(line for line in lines if "piece 3 " in line)
            web.process.terminate()
            *_, last = lines
        assert json.loads(last) == {"type": "end", "state": "failed", "message": "Ferry is being stopped"}
        web.restart()
        kept = browser.get(path).json()["messages"][-1]
        assert kept["state"] == "failed" and kept["content"].startswith("piece 0 piece 1 ")


PATH = "/v1/chat/completions"


def question(text: str) -> dict[str, object]:
    return {"model": "default", "stream": True, "messages": [{"role": "user", "content": text}]}


def raw(headers: dict[str, str], body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = [f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*head, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + data
