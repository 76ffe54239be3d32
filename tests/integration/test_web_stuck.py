"""Clients that are slow or stuck: each costs a greenlet for a while, and the others nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from web_process import ROOT, WebProcess, web_process

PATIENCE_S = 2.0
# The service's own patience is a minute: this is the same worker with less of it.
IMPATIENT = f"""
import sys
sys.path.append({str(ROOT)!r})
import service.web.worker
service.web.worker.PATIENCE_S = {PATIENCE_S}
"""
MANY = 400  # 25 MiB: more than the kernel keeps for a connection


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "sitecustomize.py").write_text(IMPATIENT)
    with web_process(folder, environment={"PYTHONPATH": str(folder)}) as running:
        running.add_user("alice")
        yield running


def connected(web: WebProcess) -> socket.socket:
    return web.connect(buffer_bytes=4096)


def request(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def question(text: str) -> bytes:
    return json.dumps({"model": "default", "stream": True, "messages": [{"role": "user", "content": text}]}).encode()


def test_fifty_clients_that_send_a_byte_at_a_time_keep_nobody_from_being_answered(web: WebProcess) -> None:
    key = web.add_key("quick")
    whole = request("/v1/chat/completions", question("echo hello"), Authorization=f"Bearer {key}")
    with ExitStack() as held, web.client() as client:
        slow = [held.enter_context(connected(web)) for _ in range(50)]
        for number in range(20):
            for each in slow:
                each.sendall(whole[number : number + 1])
            headers = {"Authorization": f"Bearer {key}"}
            assert client.post("/v1/chat/completions", content=question("echo hi"), headers=headers, timeout=10).text
        for each in slow:  # none was thrown out meanwhile
            each.sendall(whole[20:])
        assert all(each.recv(12) == b"HTTP/1.1 200" for each in slow)


def test_a_client_that_never_reads_is_let_go_of_and_so_is_its_place_at_the_engine(web: WebProcess) -> None:
    headers = {"Authorization": f"Bearer {web.add_key('deaf')}"}
    gone = len(web.engine.gone_at)
    with connected(web) as deaf, web.client() as client:
        deaf.sendall(request("/v1/chat/completions", question(f"flood {MANY}"), **headers))
        answer = client.post("/v1/chat/completions", content=question("echo hello"), headers=headers, timeout=10)
        assert "hello" in answer.text
        web.engine.wait_until_gone(gone + 1)
    assert "Traceback" not in web.output.read_text()


def test_a_page_that_never_reads_has_its_answer_all_the_same(web: WebProcess) -> None:
    browser = web.login("alice")
    chat = f"/api/conversations/{browser.post('/api/conversations').json()['id']}"
    headers = {"Cookie": f"ferry_session={browser.cookies['ferry_session']}"}
    headers["X_CSRF_Token"] = browser.headers["X-CSRF-Token"]
    headers |= web.front.password if web.front else {}
    body = json.dumps({"content": f"flood {MANY // 4}"}).encode()
    with connected(web) as deaf:
        deaf.sendall(request(f"{chat}/messages", body, **headers))
        wait_until(lambda: browser.get(chat).json()["messages"][-1:] and browser.get(chat).json()["answering"] is None)
    kept = browser.get(chat).json()["messages"][-1]
    assert kept["state"] == "complete" and len(kept["content"]) == MANY // 4 * 65_536


def test_a_body_that_stops_coming_is_waited_for_no_longer(web: WebProcess) -> None:
    """By the web tier, that is: nginx reads a whole body before it hands it on, and has a patience of its own."""
    headers = {"Authorization": f"Bearer {web.add_key('half')}"}
    with web.connect(is_own=True) as half:
        half.sendall(request("/v1/chat/completions", question("echo hello"), **headers)[:-5])
        assert half.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in web.output.read_text()


def wait_until(holds: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
