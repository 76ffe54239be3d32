"""Answers apart from their requests: what a user does at random, and what goes wrong beside the engine."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from web_app import LoggedIn, WebApp, web_app

TURNS = 3


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web"), f"[history]\nturns = {TURNS}\n") as made:
        made.add_user("alice")
        yield made


@pytest.fixture(scope="module")
def alice(web: WebApp) -> LoggedIn:
    return web.login("alice")


def ask(alice: LoggedIn, path: str, **body: object) -> list[dict]:
    answer = alice.request("POST", path, json=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def saved(alice: LoggedIn, chat: str) -> dict:
    return alice.request("GET", f"/api/conversations/{chat}").json


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_edited_made_again_and_chosen_the_model_is_shown_one_branch(
    web: WebApp, alice: LoggedIn, seed: int
) -> None:
    rng = random.Random(seed)
    chat = alice.request("POST", "/api/conversations").json["id"]
    path = f"/api/conversations/{chat}"
    texts: dict[int, str] = {}
    parents: dict[int, int | None] = {}

    def line(message: int | None) -> list[str]:
        return [] if message is None else [*line(parents[message]), texts[message]]

    shown: int | None = None
    for number in range(30):
        questions = [message for message in texts if texts[message].startswith("echo ")]
        answers = [message for message in texts if message not in questions]
        act = rng.choice(["go on", "edit", "again", "choose"]) if texts else "go on"
        if act == "choose":
            leaf = rng.choice([message for message in answers if message not in parents.values()])
            alice.request("PATCH", path, json={"leaf_id": leaf})
            shown = leaf
            continue
        if act == "again":
            question, parent = rng.choice(questions), None
            start, *_ = ask(alice, f"{path}/messages/{question}/answers")
        else:
            parent = shown if act == "go on" else rng.choice([None, *answers])
            body = {} if act == "go on" else {"parent_id": parent}
            start, *_ = ask(alice, f"{path}/messages", content=f"echo {number}", **body)
            question = start["question_id"]
            texts[question], parents[question] = f"echo {number}", parent
        texts[start["answer_id"]], parents[start["answer_id"]] = texts[question].removeprefix("echo "), question
        shown = start["answer_id"]
        sent = [message["content"] for message in web.engine.requests[-1]["messages"]]
        whole = line(question)
        assert sent == whole[-len(sent) :] and len(sent) % 2 == 1
        assert len(sent) == len(whole) or TURNS // 2 * 2 + 1 <= len(sent) <= TURNS * 2 + 1
        remembered = next((each for each in texts if texts[each] == sent[0] and each in questions), question)
        assert start["remembers_from"] in (None, remembered)
        assert (start["remembers_from"] is None) == (len(sent) == len(whole))
    found = saved(alice, chat)
    assert {message["id"]: message["content"] for message in found["messages"]} == texts
    assert {message["id"]: message["parent_id"] for message in found["messages"]} == parents
    assert found["leaf_id"] == shown


def test_an_answer_that_the_database_cannot_take_is_kept_beside_it_until_it_can(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    body = {"content": "slow 10"}
    answer = alice.request("POST", f"/api/conversations/{chat}/messages", json=body, buffered=False)
    chunks = answer.iter_encoded()
    first = next(chunks)
    with web.database.begin() as session:
        session.execute(text("ALTER TABLE messages RENAME COLUMN first_id TO missing"))
    events = [json.loads(line) for line in (first + b"".join(chunks)).splitlines()]
    answer.close()
    words = "".join(f"piece {number} " for number in range(10))
    assert "".join(event.get("text", "") for event in events) == words
    assert (events[-1]["type"], events[-1]["state"]) == ("end", "failed") and "database" in events[-1]["message"]
    assert [path.name for path in (web.paths.data / "answers").iterdir()] == [chat]
    with web.database.begin() as session:
        session.execute(text("ALTER TABLE messages RENAME COLUMN missing TO first_id"))
    last = saved(alice, chat)["messages"][-1]
    assert (last["content"], last["state"]) == (words, "partial")
    assert list((web.paths.data / "answers").iterdir()) == []


def test_on_a_full_disk_the_answer_ends_truthfully_and_the_next_one_works(
    web: WebApp, alice: LoggedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = alice.new_conversation("echo before")
    write, written = os.write, list[bytes]()

    def full(fd: int, data: bytes) -> int:
        if bytes(data).startswith(b'{"type": "text"') and written.append(data) is None and len(written) > 2:
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    *_, end = ask(alice, f"/api/conversations/{chat}/messages", content="echo one two three four")
    monkeypatch.undo()
    assert (end["type"], end["state"]) == ("end", "partial")
    last = saved(alice, chat)["messages"][-1]
    assert (last["content"], last["state"]) == ("one two", "partial")
    assert ask(alice, f"/api/conversations/{chat}/messages", content="echo again")[-1]["state"] == "complete"


def test_where_no_answer_can_be_begun_the_question_is_refused_and_nothing_is_kept(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    before = saved(alice, chat)
    folder = web.paths.data / "answers"
    folder.rename(folder.with_name("elsewhere"))
    folder.touch()  # root may write into any folder: a file in its place keeps everybody out
    try:
        answer = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "echo more"})
    finally:
        folder.unlink()
        folder.with_name("elsewhere").rename(folder)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "no_room")
    assert saved(alice, chat) == before
    assert ask(alice, f"/api/conversations/{chat}/messages", content="echo more")[-1]["state"] == "complete"


def test_what_was_left_of_an_answer_is_kept_by_the_next_question(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    answer = saved(alice, chat)["messages"][-1]["id"]
    with web.database.begin() as session:
        session.execute(text(f"UPDATE messages SET state = 'partial', content = '' WHERE id = {answer}"))
    (web.paths.data / "answers" / chat).write_text(f'{answer}\n{{"type": "text", "text": "half a"}}\n{{"type": "te')
    assert ask(alice, f"/api/conversations/{chat}/messages", content="echo more")[-1]["state"] == "complete"
    assert [message["content"] for message in saved(alice, chat)["messages"]][1:] == ["half a", "echo more", "more"]


def test_each_answer_is_recorded_once_whoever_reads_it_again(web: WebApp, alice: LoggedIn) -> None:
    before = chats(web)
    chat = alice.new_conversation("echo one")
    for question, status in (("busy", 429), ("die", 200), ("echo two", 200)):
        answer = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": question})
        assert answer.status_code == status and answer.data
    first = saved(alice, chat)["messages"][1]["id"]
    alice.request("GET", f"/api/conversations/{chat}/messages/{first}/events").get_data()
    assert chats(web)[len(before) :] == ["complete", "refused", "failed", "complete"]


def chats(web: WebApp) -> list[str]:
    lines: list[str] = []
    for path in sorted(Path(web.paths.log).glob("audit*.jsonl")):
        lines += path.read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [event["outcome"] for event in events if event["event"] == "chat"]
