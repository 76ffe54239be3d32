"""Answers between two worker processes: followed, stopped and deleted from the other one, and what a kill leaves.

A worker that is paused accepts no connection; so a connection made meanwhile is the other one's, and stays so: here
each is the web tier's own, as nginx would make another for every request.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from web_process import WebProcess, web_process


@dataclass
class Chat:
    """A conversation of one browser. None of its connections leads to the worker `other`; 0 pauses none."""

    url: str
    path: str
    cookie: str
    csrf_token: str
    other: int

    def browser(self) -> httpx.Client:
        headers = {"Cookie": self.cookie, "X-CSRF-Token": self.csrf_token}
        if self.other:
            os.kill(self.other, signal.SIGSTOP)
        try:
            client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)
            assert client.get("/healthz").status_code == 200  # the connection is kept
            return client
        finally:
            if self.other:
                os.kill(self.other, signal.SIGCONT)

    def get(self, path: str = "") -> dict:
        with closing(self.browser()) as client:
            return client.get(f"{self.path}{path}").json()

    def post(self, path: str, body: dict | None = None) -> httpx.Response:
        with closing(self.browser()) as client:
            return client.post(f"{self.path}{path}", json=body)

    @contextmanager
    def streamed(self, method: str, path: str, body: dict | None = None) -> Iterator[Iterator[dict]]:
        """Stream the events of an answer; one that does not come within seconds fails the test."""
        address = f"{self.path}{path}"
        with closing(self.browser()) as client, client.stream(method, address, json=body, timeout=5) as answer:
            assert answer.status_code == 200, answer.read()
            yield (json.loads(line) for line in answer.iter_lines())


def workers(web: WebProcess) -> list[int]:
    return [
        int(number) for number in Path(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read_text().split()
    ]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), "workers = 2\n") as running:
        running.add_user("alice")
        yield running


@pytest.fixture
def here_and_there(web: WebProcess) -> tuple[Chat, Chat]:
    return chats(web)


def chats(web: WebProcess) -> tuple[Chat, Chat]:
    """A new conversation through one worker and through the other, once both serve."""
    wait_until(lambda: count(web, "Ferry serves on") == count(web, "Booting worker") and len(workers(web)) == 2)
    with closing(web.login("alice")) as login:
        path = f"/api/conversations/{login.post('/api/conversations').json()['id']}"
        cookie = f"ferry_session={login.cookies['ferry_session']}"
        first, second = (
            Chat(web.own_url, path, cookie, login.headers["X-CSRF-Token"], other) for other in workers(web)
        )
    return second, first


def count(web: WebProcess, words: str) -> int:
    return web.output.read_text().count(words)


def wait_until(holds: Callable[[], object], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def piece(events: Iterator[dict], number: int) -> None:
    """Read on to this piece of a slow answer."""
    next(event for event in events if event.get("text", "").endswith(f"piece {number} "))


def text_of(events: list[dict]) -> str:
    return "".join(event.get("text", "") for event in events)


def test_an_answer_is_followed_through_the_other_worker_from_its_beginning(
    here_and_there: tuple[Chat, Chat],
) -> None:
    here, there = here_and_there
    with here.streamed("POST", "/messages", {"content": "slow 30"}) as asked:
        start = next(asked)
        piece(asked, 3)
        opened = there.get()
        assert opened["answering"] == start["answer_id"]
        assert opened["messages"][-1]["content"].startswith("piece 0 piece 1 piece 2 piece 3 ")
    # Whoever asked has gone. The answer is followed by two, in both processes.
    with ExitStack() as streams:
        path = f"/messages/{start['answer_id']}/events"
        both = [list(streams.enter_context(chat.streamed("GET", path))) for chat in (there, here)]
    for events in both:
        assert events[0] == start and events[-1]["state"] == "complete"
        assert text_of(events) == "".join(f"piece {number} " for number in range(30))
    assert there.get()["messages"][-1]["content"] == text_of(both[0])


def test_an_answer_is_stopped_through_the_other_worker_and_the_next_question_may_follow_at_once(
    web: WebProcess, here_and_there: tuple[Chat, Chat]
) -> None:
    here, there = here_and_there
    gone = len(web.engine.gone_at)
    with here.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
        start = next(asked)
        piece(asked, 2)
        refused = there.post("/messages", {"content": "hello"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "answering")
        assert there.post(f"/messages/{start['answer_id']}/stop").status_code == 204
        assert there.post("/messages", {"content": "echo next"}).status_code == 200
        *_, end = asked
    web.engine.wait_until_gone(gone + 1)
    assert end["state"] == "stopped"
    messages = here.get()["messages"]
    assert [message["state"] for message in messages] == ["complete", "stopped", "complete", "complete"]
    assert messages[1]["content"].startswith("piece 0 piece 1 ")


def test_deleting_a_conversation_through_the_other_worker_ends_its_answer(
    web: WebProcess, here_and_there: tuple[Chat, Chat]
) -> None:
    here, there = here_and_there
    gone = len(web.engine.gone_at)
    with here.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
        piece(asked, 1)
        with closing(there.browser()) as client:
            assert client.delete(there.path).status_code == 204
        *_, end = asked
    assert end["state"] == "stopped"
    web.engine.wait_until_gone(gone + 1)
    assert list((web.data / "answers").iterdir()) == []
    assert here.get()["error"]["code"] == "conversation_not_found"


def test_an_engine_that_is_killed_is_told_of_at_once_and_the_next_question_works_when_it_is_back(
    web: WebProcess, here_and_there: tuple[Chat, Chat]
) -> None:
    here, there = here_and_there
    with here.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
        start = next(asked)
        piece(asked, 2)
        with there.streamed("GET", f"/messages/{start['answer_id']}/events") as followed:
            next(followed)
            web.engine.stop()
            try:
                *_, end = asked
                *_, far_end = followed
                refused = there.post("/messages", {"content": "echo too soon"})
            finally:
                web.engine.start()
    assert end == far_end == {"type": "end", "state": "failed", "message": "the engine was lost"}
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_away")
    assert there.post("/messages", {"content": "echo again"}).status_code == 200
    kept = here.get()["messages"]
    assert [message["state"] for message in kept] == ["complete", "failed", "complete", "complete"]
    assert kept[1]["content"].startswith("piece 0 piece 1 piece 2 ") and kept[3]["content"] == "again"


def test_a_killed_worker_leaves_the_truth_and_whoever_follows_is_told(web: WebProcess) -> None:
    here, there = chats(web)
    with here.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
        start = next(asked)
        piece(asked, 20)
        path = f"/messages/{start['answer_id']}"
        with there.streamed("GET", f"{path}/events") as followed:
            next(followed)
            os.kill(workers(web)[0], signal.SIGKILL)
            *_, end = followed
        assert end == {"type": "end", "state": "partial", "figures": {}}
        with pytest.raises(httpx.RemoteProtocolError):
            list(asked)
    there.other = 0  # killed, and another in its place
    opened = there.get()
    assert opened["answering"] is None and opened["messages"][-1]["state"] == "partial"
    assert opened["messages"][-1]["content"].startswith("".join(f"piece {number} " for number in range(21)))
    assert there.post(f"{path}/stop").status_code == 204
    assert there.post("/messages", {"content": "echo on"}).status_code == 200
    assert [message["state"] for message in there.get()["messages"]][1:] == ["partial", "complete", "complete"]
    assert list((web.data / "answers").iterdir()) == []


def test_what_a_crash_of_all_has_left_is_kept_at_the_next_start_and_readable_by_nobody_else(web: WebProcess) -> None:
    here, _ = chats(web)
    with here.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
        piece(asked, 20)
        web.kill()
    (left,) = (web.data / "answers").iterdir()
    assert (left.stat().st_mode & 0o777, left.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    web.restart()
    wait_until(lambda: not left.exists())
    here.other = 0
    kept = here.get()["messages"][-1]
    assert kept["state"] == "partial" and kept["content"].startswith(
        "".join(f"piece {number} " for number in range(21))
    )


def test_at_a_stop_answers_that_nobody_follows_end_too(web: WebProcess) -> None:
    both = (chats(web)[0], chats(web)[1])
    for chat in both:
        with chat.streamed("POST", "/messages", {"content": "slow 400"}) as asked:
            piece(asked, 2)
    web.process.terminate()
    assert web.process.wait(10) == 0
    assert list((web.data / "answers").iterdir()) == []
    web.restart()
    for chat in both:
        chat.other = 0
        kept = chat.get()["messages"][-1]
        assert kept["state"] == "failed" and kept["content"].startswith("piece 0 piece 1 piece 2 ")


def test_of_many_questions_at_once_in_one_conversation_one_is_answered(here_and_there: tuple[Chat, Chat]) -> None:
    statuses: list[int] = []
    clients = [chat.browser() for chat in here_and_there * 4]

    def ask(client: httpx.Client) -> None:
        statuses.append(client.post(f"{here_and_there[0].path}/messages", json={"content": "slow 20"}).status_code)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert sorted(statuses) == [200] + [409] * 7
    assert len(here_and_there[1].get()["messages"]) == 2
