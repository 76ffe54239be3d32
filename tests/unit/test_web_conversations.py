"""Conversations through the app: branches, following, stopping, titles, search and export, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from web_app import LoggedIn, WebApp, web_app


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web"), "[history]\nturns = 2\n") as made:
        made.add_user("alice")
        made.add_user("bob")
        yield made


@pytest.fixture(scope="module")
def alice(web: WebApp) -> LoggedIn:
    return web.login("alice")


@pytest.fixture(scope="module")
def bob(web: WebApp) -> LoggedIn:
    return web.login("bob")


def path_of(chat: str, *more: object) -> str:
    return "/".join(["/api/conversations", chat, *map(str, more)])


def read(alice: LoggedIn, chat: str) -> dict[str, Any]:
    return alice.request("GET", path_of(chat)).json


def events(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def ask(alice: LoggedIn, chat: str, question: str, **more: object) -> list[dict[str, Any]]:
    return events(alice.request("POST", path_of(chat, "messages"), json={"content": question, **more}))


def again(alice: LoggedIn, chat: str, question: int) -> list[dict[str, Any]]:
    return events(alice.request("POST", path_of(chat, "messages", question, "answers")))


def begin(alice: LoggedIn, chat: str, question: str) -> tuple[Any, Iterator[bytes], dict[str, Any]]:
    """Ask, and leave the answer running: the response, its chunks, and the first event."""
    answer = alice.request("POST", path_of(chat, "messages"), json={"content": question}, buffered=False)
    chunks = answer.iter_encoded()
    return answer, chunks, json.loads(next(chunks).splitlines()[0])


def shown(alice: LoggedIn, chat: str) -> list[str]:
    """The texts of the branch that is shown."""
    found = read(alice, chat)
    by_id = {message["id"]: message for message in found["messages"]}
    texts, at = [], found["leaf_id"]
    while at is not None:
        texts.append(by_id[at]["content"])
        at = by_id[at]["parent_id"]
    return texts[::-1]


def sent(web: WebApp) -> list[str]:
    """What the engine was sent last."""
    return [message["content"] for message in web.engine.requests[-1]["messages"]]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["error"]["code"]


def test_a_question_that_is_edited_begins_a_branch_beside_the_old_one(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo one")
    first = read(alice, chat)["messages"][1]["id"]
    two = ask(alice, chat, "echo two")[0]["question_id"]
    ask(alice, chat, "echo three")
    end = ask(alice, chat, "echo 2", parent_id=first)[-1]
    assert end["state"] == "complete" and sent(web) == ["echo one", "one", "echo 2"]
    assert shown(alice, chat) == ["echo one", "one", "echo 2", "2"]
    contents = [message["content"] for message in read(alice, chat)["messages"]]
    assert contents == ["echo one", "one", "echo two", "two", "echo three", "three", "echo 2", "2"]
    ask(alice, chat, "echo more")
    assert sent(web) == ["echo one", "one", "echo 2", "2", "echo more"], "it goes on where it is shown"
    assert alice.request("PATCH", path_of(chat), json={"leaf_id": two}).json["id"] == chat
    assert shown(alice, chat) == ["echo one", "one", "echo two", "two", "echo three", "three"]
    ask(alice, chat, "echo four", parent_id=None)
    assert sent(web) == ["echo four"] and shown(alice, chat) == ["echo four", "four"]


def test_another_answer_to_a_question_stands_beside_the_first(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo one")
    question = ask(alice, chat, "echo two")[0]["question_id"]
    ask(alice, chat, "echo three")
    start, *_, end = again(alice, chat, question)
    assert start["question_id"] == question and end["state"] == "complete"
    assert sent(web) == ["echo one", "one", "echo two"]
    messages = read(alice, chat)["messages"]
    answers = [message["id"] for message in messages if message["parent_id"] == question]
    assert len(answers) == 2 and read(alice, chat)["leaf_id"] == answers[1] == start["answer_id"]


def test_the_answers_figures_are_kept(alice: LoggedIn) -> None:
    question, answer = read(alice, alice.new_conversation("hello"))["messages"]
    names = ("prompt_tokens", "cached_tokens", "answer_tokens", "tokens_per_s")
    assert [answer[name] for name in names] == [100, 64, 20, 12.3]
    assert [question[name] for name in names] == [None] * 4 and answer["created_at"] >= question["created_at"] > 0


def test_where_the_models_memory_begins_is_told_for_each_branch(alice: LoggedIn) -> None:
    """Two turns are shown. What is told before a question is what the question then gets."""
    chat = alice.new_conversation("echo 1")
    begins = [read(alice, chat)["remembers_from"]]
    starts = []
    for number in range(2, 6):
        starts.append(ask(alice, chat, f"echo {number}")[0])
        begins.append(read(alice, chat)["remembers_from"])
    questions = [message["id"] for message in read(alice, chat)["messages"] if message["role"] == "user"]
    assert begins == [None, None, questions[1], questions[2], questions[3]]
    assert [start["remembers_from"] for start in starts] == begins[:-1]
    alice.request("PATCH", path_of(chat), json={"leaf_id": questions[0]})
    ask(alice, chat, "echo 2b", parent_id=read(alice, chat)["messages"][1]["id"])
    assert read(alice, chat)["remembers_from"] is None, "a short branch of a long conversation"


def test_an_answer_is_followed_from_its_beginning_while_it_is_written_and_after(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    answer, chunks, start = begin(alice, chat, "slow 20")
    events_path = path_of(chat, "messages", start["answer_id"], "events")
    opened = read(alice, chat)
    assert opened["answering"] == start["answer_id"]
    follower = alice.request("GET", events_path, buffered=False)
    followed = follower.iter_encoded()
    first = next(followed)
    answer.close()  # whoever asked leaves; the answer does not care
    text = "".join(f"piece {number} " for number in range(20))
    lines = [json.loads(line) for line in (first + b"".join(followed)).splitlines()]
    follower.close()
    assert lines[0] == start and "".join(line.get("text", "") for line in lines) == text
    assert read(alice, chat)["answering"] is None
    after = events(alice.request("GET", events_path))
    assert [after[0], after[-1]] == [start, lines[-1]] and after[1]["text"] == text
    assert next(chunks, b"") == b""


def test_what_has_come_of_an_answer_is_read_while_it_is_written(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    answer, chunks, start = begin(alice, chat, "slow 100")
    while b"piece 1 " not in next(chunks):
        pass
    last = read(alice, chat)["messages"][-1]
    assert last["id"] == start["answer_id"] and last["state"] == "partial"
    assert last["content"].startswith("piece 0 piece 1 ")
    assert alice.request("POST", path_of(chat, "messages", last["id"], "stop")).status_code == 204
    answer.close()


def test_a_stopped_answer_keeps_what_it_has_and_the_next_question_may_follow_at_once(
    web: WebApp, alice: LoggedIn
) -> None:
    chat = alice.new_conversation("echo before")
    gone = len(web.engine.gone_at)
    answer, chunks, start = begin(alice, chat, "slow 200")
    stop = path_of(chat, "messages", start["answer_id"], "stop")
    while b"piece 1 " not in next(chunks):
        pass
    assert code(alice.request("POST", path_of(chat, "messages"), json={"content": "hello"})) == (409, "answering")
    assert code(alice.request("POST", path_of(chat, "messages", start["question_id"], "answers")))[0] == 409
    assert alice.request("POST", stop).status_code == 204
    assert json.loads(b"".join(chunks).splitlines()[-1]) == {"type": "end", "state": "stopped", "figures": {}}
    answer.close()
    web.engine.wait_until_gone(gone + 1)
    assert ask(alice, chat, "echo next")[-1]["state"] == "complete"
    assert sent(web)[-2].startswith("piece 0 piece 1 ")
    assert alice.request("POST", stop).status_code == 204
    kept = read(alice, chat)["messages"][3]
    assert kept["state"] == "stopped" and kept["content"].startswith("piece 0 piece 1 ")


def test_an_answer_that_is_stopped_before_its_first_word_ends_too(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo before")
    answer, chunks, start = begin(alice, chat, "prefill")
    assert alice.request("POST", path_of(chat, "messages", start["answer_id"], "stop")).status_code == 204
    assert json.loads(b"".join(chunks).splitlines()[-1])["state"] == "stopped"
    answer.close()
    assert read(alice, chat)["messages"][-1]["content"] == ""


@pytest.mark.parametrize("question", ["busy", "echo first"])
def test_a_question_that_the_engine_refuses_leaves_everything_as_it_was(
    web: WebApp, alice: LoggedIn, question: str
) -> None:
    chat = alice.request("POST", "/api/conversations").json["id"]
    if question != "busy":
        ask(alice, chat, question)
    before = read(alice, chat)
    parents = (None, *(message["id"] for message in before["messages"]))
    for parent in parents:
        answer = alice.request("POST", path_of(chat, "messages"), json={"content": "busy", "parent_id": parent})
        assert answer.status_code == 429
    web.engine.stop()
    try:
        for message in before["messages"][:1]:
            assert alice.request("POST", path_of(chat, "messages", message["id"], "answers")).status_code == 503
    finally:
        web.engine.start()
    assert read(alice, chat) == before


def test_a_conversation_is_renamed_within_reason(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo words")
    assert alice.request("PATCH", path_of(chat), json={"title": "  My\n title "}).json["title"] == "My title"
    assert alice.request("PATCH", path_of(chat), json={"title": 120 * "题"}).status_code == 200
    for title in ("", " \n", 121 * "x", "\u2028"):
        assert code(alice.request("PATCH", path_of(chat), json={"title": title})) == (400, "bad_title")
    assert read(alice, chat)["title"] == 120 * "题"
    ask(alice, chat, "echo another question")
    assert read(alice, chat)["title"] == 120 * "题", "only the first question names a conversation"
    mended = alice.request("PATCH", path_of(chat), data=rb'{"title": "a\ud800\u0000"}')
    assert mended.json["title"] == "a?\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": None},
        {"title": 7},
        {"title": ["a"]},
        {"leaf_id": "1"},
        {"leaf_id": None},
        {"leaf_id": True},
        {"leaf_id": 1.5},
        {"title": "good", "leaf_id": []},
        {"title": {}, "leaf_id": 1},
        [],
        "text",
        None,
    ],
)
def test_changes_of_wrong_types_are_bad_requests(alice: LoggedIn, body: object) -> None:
    chat = alice.new_conversation("echo words")
    assert alice.request("PATCH", path_of(chat), json=body).status_code == 400
    assert read(alice, chat)["title"] == "echo words"


@pytest.mark.parametrize("parent", ["1", True, 1.5, [], {}])
def test_a_parent_of_a_wrong_type_is_a_bad_request(alice: LoggedIn, parent: object) -> None:
    body = {"content": "hello", "parent_id": parent}
    answer = alice.request("POST", path_of(alice.new_conversation(), "messages"), json=body)
    assert code(answer) == (400, "bad_parent")


@pytest.mark.parametrize("number", ["0", "-1", "1", "999999", "99999999999", "9" * 30, "x", "1.5", "%00", "１", "²"])
def test_messages_that_are_not_there_are_not_found(alice: LoggedIn, bob: LoggedIn, number: str) -> None:
    bob.new_conversation("hello")  # has the message 1, or a later one
    chat = alice.request("POST", "/api/conversations").json["id"]
    for method, last in (("POST", "answers"), ("GET", "events"), ("POST", "stop")):
        answer = alice.request(method, path_of(chat, "messages", number, last))
        assert code(answer) == (404, "message_not_found"), f"{method} {last}"
    if number.lstrip("-").isascii() and number.lstrip("-").isdigit():
        body = {"content": "hello", "parent_id": int(number)}
        assert code(alice.request("POST", path_of(chat, "messages"), json=body)) == (404, "message_not_found")
        assert alice.request("PATCH", path_of(chat), json={"leaf_id": int(number)}).status_code == 404


def test_a_question_is_no_answer_and_an_answer_no_question(alice: LoggedIn) -> None:
    chat = alice.new_conversation()
    question, answer = (message["id"] for message in read(alice, chat)["messages"])
    assert code(alice.request("POST", path_of(chat, "messages", answer, "answers"))) == (404, "message_not_found")
    assert code(alice.request("GET", path_of(chat, "messages", question, "events"))) == (404, "message_not_found")
    assert code(alice.request("POST", path_of(chat, "messages", question, "stop"))) == (404, "message_not_found")


def test_nobody_reaches_a_running_answer_of_another(alice: LoggedIn, bob: LoggedIn) -> None:
    chat, own = alice.new_conversation(), bob.new_conversation()
    answer, chunks, start = begin(alice, chat, "slow 5")
    for place in (chat, own):
        assert bob.request("GET", path_of(place, "messages", start["answer_id"], "events")).status_code == 404
        assert bob.request("POST", path_of(place, "messages", start["answer_id"], "stop")).status_code == 404
        body = {"content": "hello", "parent_id": start["answer_id"]}
        assert bob.request("POST", path_of(place, "messages"), json=body).status_code == 404
    assert json.loads(b"".join(chunks).splitlines()[-1])["state"] == "complete"
    answer.close()
