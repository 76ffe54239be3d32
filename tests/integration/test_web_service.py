"""The web tier as it is run: gunicorn and gevent in their own process, real clients, and an engine without a model."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from fake_engine import MODEL
from web_process import WebProcess, web_process

QUESTION = [{"role": "user", "content": "What is it?"}]
ANSWER = "The answer to **What is it?** is 42."


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory):
    with web_process(tmp_path_factory.mktemp("web"), "max_body_kib = 64\n") as running:
        running.add_user("alice")
        yield running


@pytest.fixture(scope="module")
def key(web: WebProcess) -> str:
    return web.add_key("script")


@pytest.fixture
def client(web: WebProcess, key: str) -> openai.OpenAI:
    return web.openai_client(key)


def asked(client: openai.OpenAI, question: str, **options: object):
    messages = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="default", messages=messages, **options)


def conversation(browser: httpx.Client) -> str:
    return browser.post("/api/conversations").json()["id"]


def saved(browser: httpx.Client, conversation_id: str) -> dict:
    return browser.get(f"/api/conversations/{conversation_id}").json()["messages"][-1]


def wait_for_state(browser: httpx.Client, conversation_id: str, state: str) -> dict:
    deadline = time.monotonic() + 5
    while (message := saved(browser, conversation_id))["state"] != state:
        assert time.monotonic() < deadline, message
        time.sleep(0.05)
    return message


def test_the_openai_client_lists_the_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve("default").id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_the_openai_client_gets_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="default", messages=QUESTION)
    assert answer.choices[0].message.content == ANSWER


def test_the_openai_client_gets_a_streamed_answer_piece_by_piece(client: openai.OpenAI) -> None:
    arrivals = []
    for chunk in asked(client, "slow 10", stream=True):
        if chunk.choices[0].delta.content:
            arrivals.append(time.monotonic())
    assert len(arrivals) == 10
    assert arrivals[-1] - arrivals[0] > 0.3  # 10 pieces 50 ms apart: held back, they would come at once


def test_a_busy_engine_reaches_the_openai_client_as_a_rate_limit(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        asked(client, "busy")
    assert caught.value.response.headers["Retry-After"] == "7"
    assert caught.value.code == "queue_full"


def test_an_unknown_model_and_a_wrong_key_are_told_in_openais_words(client: openai.OpenAI, web: WebProcess) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=QUESTION)
    with pytest.raises(openai.AuthenticationError):
        web.openai_client("ferry-guess").models.list()


def test_an_engine_that_dies_in_mid_stream_is_an_error_to_the_openai_client(client: openai.OpenAI) -> None:
    pieces = []
    with pytest.raises(openai.APIError, match="lost"):
        for chunk in asked(client, "die", stream=True):
            pieces.append(chunk.choices[0].delta.content)
    assert "".join(pieces) == "one two three "
    with pytest.raises(openai.InternalServerError):
        asked(client, "die")


def test_without_an_engine_the_openai_client_gets_503_and_recovers(client: openai.OpenAI, web: WebProcess) -> None:
    web.engine.stop()
    try:
        with pytest.raises(openai.InternalServerError) as caught:
            asked(client, "hello")
        assert caught.value.status_code == 503
    finally:
        web.engine.start()
    assert asked(client, "echo back again").choices[0].message.content == "back again"


@pytest.mark.parametrize("question", ["slow 200", "prefill"])
@pytest.mark.parametrize("way", ["stream", "whole"])
def test_a_client_that_leaves_ends_the_engines_work_at_once(web: WebProcess, key: str, question: str, way: str) -> None:
    before = len(web.engine.gone_at)
    body = {"messages": [{"role": "user", "content": question}], "model": "default", "stream": way == "stream"}
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\n"
    data = json.dumps(body).encode()
    with web.connect() as raw:
        raw.sendall(head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        time.sleep(0.4)
    left_at = time.monotonic()
    assert web.engine.wait_until_gone(before + 1) - left_at < 1


def test_an_answer_goes_on_when_its_reader_leaves(web: WebProcess) -> None:
    browser = web.login("alice")
    conversation_id = conversation(browser)
    with browser.stream(
        "POST", f"/api/conversations/{conversation_id}/messages", json={"content": "slow 30"}
    ) as answer:
        next(answer.iter_lines())
    text = wait_for_state(browser, conversation_id, "complete")["content"]
    assert text == "".join(f"piece {number} " for number in range(30))


def test_an_answer_is_kept_while_it_grows(web: WebProcess) -> None:
    browser = web.login("alice")
    conversation_id = conversation(browser)
    with browser.stream(
        "POST", f"/api/conversations/{conversation_id}/messages", json={"content": "slow 60"}
    ) as answer:
        seen = []
        for _ in answer.iter_lines():
            seen.append(saved(browser, conversation_id)["content"])
            if seen[-1]:
                break
    assert seen[-1].startswith("piece 0 ")


def test_many_streams_run_side_by_side(web: WebProcess, client: openai.OpenAI) -> None:
    def ask(_: int) -> float:
        start = time.monotonic()
        assert len(list(asked(client, "slow 20", stream=True))) == 22
        return time.monotonic() - start

    with ThreadPoolExecutor(20) as pool:
        seconds = list(pool.map(ask, range(20)))
    assert max(seconds) < 10  # one after the other would be 20 s


def test_a_connection_that_is_kept_serves_question_after_question(web: WebProcess) -> None:
    browser = web.login("alice")
    conversation_id = conversation(browser)
    for number in range(5):
        body = {"content": f"echo {number}"}
        answer = browser.post(f"/api/conversations/{conversation_id}/messages", json=body)
        assert json.loads(answer.text.splitlines()[-1])["state"] == "complete"
    assert saved(browser, conversation_id)["content"] == "4"


def test_a_body_over_the_limit_is_413_over_the_wire(web: WebProcess, key: str) -> None:
    with web.client() as client:
        headers = {"Authorization": f"Bearer {key}"}
        for content in (b"x" * 65 * 1024, (b"x" * 1024 for _ in range(80))):
            assert client.post("/v1/chat/completions", content=content, headers=headers).status_code == 413


def test_no_header_tells_a_version(web: WebProcess) -> None:
    with web.client() as client:
        assert client.get("/login").headers["Server"] == ("nginx" if web.front else "gunicorn")


def test_selftest_privacy_holds_conversations_through_the_whole_service_and_leaves_no_key(web: WebProcess) -> None:
    report = web.admin("selftest", "--privacy", "--minutes", "0")
    assert report.pop("repeated") > 0
    assert report == {"ok": True, "answers": 84, "left": 12, "leaked": [], "differing": []}
    assert not [row for row in web.admin("key", "list")["keys"] if row["name"].startswith("selftest")]


def test_selftest_streams_a_real_answer_and_leaves_no_key(web: WebProcess) -> None:
    result = web.admin("selftest", "--prompt", "What is it?")
    assert (result["ok"], result["answer"], result["chunks"]) == (True, ANSWER, 5)
    assert not [row for row in web.admin("key", "list")["keys"] if row["name"].startswith("selftest")]
    refused = web.admin("selftest", "--prompt", "busy", check=False)
    assert refused["exit_code"] == 1 and "429" in refused["error"]


def test_a_web_that_is_killed_keeps_the_login_and_what_the_answer_had_come_to(tmp_path: Path) -> None:
    with web_process(tmp_path) as web:
        web.add_user("alice")
        browser = web.login("alice")
        conversation_id = conversation(browser)
        path = f"/api/conversations/{conversation_id}/messages"
        with browser.stream("POST", path, json={"content": "slow 200"}) as answer:
            for line in answer.iter_lines():
                if '"piece 25 "' in line:
                    break
            web.kill()
        web.restart()
        message = saved(browser, conversation_id)
        assert message["content"].startswith("piece 0 piece 1 ") and message["state"] == "partial"


def test_the_web_tells_systemd_when_a_worker_serves_and_not_before(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        started = time.monotonic()
        with web_process(tmp_path, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as web:
            assert manager.recv(100) == b"READY=1"
            assert time.monotonic() - started < 30
            with web.client() as client:
                assert client.get("/healthz").json() == {"ok": True}


def test_a_stop_is_over_within_ten_seconds_with_answers_running(tmp_path: Path) -> None:
    with web_process(tmp_path) as web:
        web.add_user("alice")
        browser = web.login("alice")
        path = f"/api/conversations/{conversation(browser)}/messages"
        with browser.stream("POST", path, json={"content": "prefill"}):
            started = time.monotonic()
            web.process.terminate()
            web.process.wait(15)
            assert time.monotonic() - started < 8


def test_a_worker_that_is_killed_comes_back_without_systemd(tmp_path: Path) -> None:
    """What systemd would restart takes the engine with it, where systemd is older than 254."""
    with web_process(tmp_path) as web:
        children = Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children")
        before = children.read_text().split()
        os.kill(int(before[0]), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(now := children.read_text().split()) < len(before) or before[0] in now:
            assert time.monotonic() < deadline and web.process.poll() is None
            time.sleep(0.05)
        web.wait_until_it_serves()
