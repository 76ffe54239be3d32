"""Questions and answers through the app: what the engine is sent, what is kept, and what is said when it cannot."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from fake_engine import MODEL
from web_app import LoggedIn, WebApp, web_app


@pytest.fixture
def web(tmp_path: Path):
    with web_app(tmp_path, '[history]\nturns = 2\n[engine]\nsystem_prompt = "Be brief."\n') as made:
        made.add_user("alice")
        yield made


def ask(alice: LoggedIn, conversation_id: str, question: str):
    return alice.request("POST", f"/api/conversations/{conversation_id}/messages", json={"content": question})


def events(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def saved(alice: LoggedIn, conversation_id: str) -> list[tuple[str, str, str]]:
    messages = alice.request("GET", f"/api/conversations/{conversation_id}").json["messages"]
    return [(message["role"], message["content"], message["state"]) for message in messages]


def test_an_answer_is_streamed_and_kept(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.request("POST", "/api/conversations").json["id"]
    start, *pieces, end = events(ask(alice, conversation_id, "What  is\nit?"))
    assert start["type"] == "start" and start["title"] == "What is it?"
    assert "".join(piece["text"] for piece in pieces) == "The answer to **What  is\nit?** is 42."
    assert (end["type"], end["state"]) == ("end", "complete")
    assert saved(alice, conversation_id) == [
        ("user", "What  is\nit?", "complete"),
        ("assistant", "The answer to **What  is\nit?** is 42.", "complete"),
    ]


def test_the_engine_is_shown_the_system_prompt_and_the_last_turns(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("echo one")
    for word in ("two", "three", "four"):
        ask(alice, conversation_id, f"echo {word}").get_data()
    request = web.engine.requests[-1]
    assert [(message["role"], message["content"]) for message in request["messages"]] == [
        ("system", "Be brief."),
        ("user", "echo two"),
        ("assistant", "two"),
        ("user", "echo three"),
        ("assistant", "three"),
        ("user", "echo four"),
    ]
    assert request["model"] == "default" and request["stream"] is True


def test_twenty_turns_mostly_begin_with_what_the_engine_has_seen_before(tmp_path: Path) -> None:
    """With the turns that ferry.toml has by default: what stays the same at the front need not be computed again."""
    with web_app(tmp_path) as web:
        web.add_user("alice")
        alice = web.login("alice")
        conversation_id = alice.new_conversation("echo 0")
        for number in range(1, 20):
            ask(alice, conversation_id, f"echo {number}").get_data()
        sent = [request["messages"] for request in web.engine.requests]
    assert len(sent) == 20 and max(map(len, sent)) == 2 * 8 + 1
    continued = [after[: len(before)] == before for before, after in pairwise(sent)]
    assert continued == [True] * 8 + ([False] + [True] * 3) * 2 + [False, True, True]


def test_an_answer_that_waits_tells_its_place_and_how_long_still(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.request("POST", "/api/conversations").json["id"]
    start, first, second, text, end = events(ask(alice, conversation_id, "wait 2"))
    assert (start["type"], text["text"], end["state"]) == ("start", "here", "complete")
    assert first == {"type": "waiting", "position": 2, "wait_s": 5.0}
    assert second == {"type": "waiting", "position": 1, "wait_s": 2.5}
    figures = {"prompt_tokens": 100, "cached_tokens": 64, "answer_tokens": 20, "tokens_per_s": 12.3}
    assert end["figures"] == figures
    headers = {"Authorization": f"Bearer {web.add_key('reports')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "wait 2"}]}
    handed_on = web.app.test_client().post("/v1/chat/completions", json=body, headers=headers).text
    assert handed_on.startswith(': waiting {"position": 2, "wait_s": 5.0}\n\n: waiting {"position": 1,')


def test_the_engine_is_told_whose_conversation_it_is_and_believes_no_client(web: WebApp) -> None:
    web.add_user("bob")
    alice, bob = web.login("alice"), web.login("bob")
    theirs = [browser.new_conversation("hello") for browser in (alice, bob)]
    forged = {"X-Ferry-User": "user-1", "X-Ferry-Conversation": theirs[0]}
    for key in (web.add_key("of bob", "bob"), web.add_key("of nobody")):
        headers = {"Authorization": f"Bearer {key}", **forged}
        body = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "user": "user-1"}
        assert web.app.test_client().post("/v1/chat/completions", json=body, headers=headers).status_code == 200
    assert web.engine.users == ["user-1", "user-2", "user-2", "key-2"]
    assert web.engine.conversations == [*theirs, "", ""]


def test_a_history_that_leaves_no_room_for_an_answer_is_shortened_before_it_is_refused(tmp_path: Path) -> None:
    """The engine says that 120 tokens were taken; of 256 an answer may take 64, and 12 bytes are 4 tokens."""
    with web_app(tmp_path, "[engine]\ncontext_tokens = 256\n") as web:
        web.add_user("alice")
        alice = web.login("alice")
        conversation_id = alice.new_conversation("echo 1")
        for question in ("echo 2", "echo 3", "echo " + 210 * "x", "echo " + 220 * "x"):
            ask(alice, conversation_id, question).get_data()
        assert [len(request["messages"]) for request in web.engine.requests] == [1, 3, 5, 7, 5]


def test_a_history_that_does_not_fit_the_context_is_shortened_until_it_does(tmp_path: Path) -> None:
    with web_app(tmp_path) as web:
        web.add_user("alice")
        alice = web.login("alice")
        conversation_id = alice.new_conversation("echo one")
        for word in ("two", "three"):
            ask(alice, conversation_id, f"echo {word}").get_data()
        assert events(ask(alice, conversation_id, "long question"))[-1]["state"] == "complete"
        ask(alice, conversation_id, "echo again").get_data()
        lengths = [len(request["messages"]) for request in web.engine.requests[-4:]]
        assert lengths == [7, 3, 1, 3], "the next question begins where the last one fitted"


@pytest.mark.parametrize("word", ["die", "fail"])
def test_an_answer_that_breaks_off_is_kept_and_marked(web: WebApp, word: str) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("hello")
    end = events(ask(alice, conversation_id, word))[-1]
    assert end["state"] == "failed" and end["message"]
    assert saved(alice, conversation_id)[-1] == ("assistant", "one two three ", "failed")
    assert events(ask(alice, conversation_id, "hello"))[-1]["state"] == "complete"


def test_an_answer_that_ran_into_its_limit_says_so(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("slow 3")
    assert saved(alice, conversation_id)[-1][2] == "length"


def test_a_busy_engine_is_passed_on_with_retry_after_and_nothing_is_kept(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("hello")
    answer = ask(alice, conversation_id, "busy")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json["error"]["code"] == "queue_full"
    assert len(saved(alice, conversation_id)) == 2


def test_without_an_engine_everything_says_so_and_recovers(web: WebApp) -> None:
    alice, key = web.login("alice"), web.add_key("script")
    bearer = {"Authorization": f"Bearer {key}"}
    conversation_id = alice.new_conversation("hello")
    web.engine.stop()
    answer = ask(alice, conversation_id, "hello")
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "engine_away")
    for path in ("chat/completions", "completions"):
        body = {"model": "default", "messages": [{"role": "user", "content": "hello"}], "prompt": "hello"}
        assert web.app.test_client().post(f"/v1/{path}", json=body, headers=bearer).status_code == 503
    assert web.app.test_client().get("/v1/models", headers=bearer).status_code == 503
    ready = web.app.test_client().get("/readyz")
    assert (ready.status_code, ready.json) == (503, {"ready": False, "reason": "the engine is not running"})
    assert web.app.test_client().get("/healthz").status_code == 200
    assert alice.request("GET", "/api/status").json["ready"] is False
    web.engine.start()
    assert web.app.test_client().get("/readyz").json == {"ready": True, "model": MODEL}
    assert events(ask(alice, conversation_id, "hello"))[-1]["state"] == "complete"


def test_a_loading_engine_is_not_ready_and_its_reason_is_told(web: WebApp) -> None:
    web.engine.health = (503, {"status": "loading", "reason": "loading the weights"})
    ready = web.app.test_client().get("/readyz")
    assert (ready.status_code, ready.json) == (503, {"ready": False, "reason": "loading the weights"})


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000, b'{"content": 7}', b'{"content": " "}']
)
def test_garbage_is_a_bad_request(web: WebApp, data: bytes) -> None:
    alice, key = web.login("alice"), web.add_key("script")
    conversation_id = alice.new_conversation("hello")
    path = f"/api/conversations/{conversation_id}/messages"
    answer = alice.request("POST", path, data=data)
    assert answer.status_code == 400 and answer.json["error"]["message"]
    if not data.startswith(b"{"):
        headers = {"Authorization": f"Bearer {key}"}
        answer = web.app.test_client().post("/v1/chat/completions", data=data, headers=headers)
        assert answer.status_code == 400 and answer.json["error"]["type"] == "invalid_request_error"


def test_a_body_over_the_limit_is_413(web: WebApp) -> None:
    alice, key = web.login("alice"), web.add_key("script")
    conversation_id = alice.new_conversation("hello")
    body = {"content": "x" * 257 * 1024}
    answer = alice.request("POST", f"/api/conversations/{conversation_id}/messages", json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "too_large")
    headers = {"Authorization": f"Bearer {key}"}
    assert web.app.test_client().post("/v1/chat/completions", json=body, headers=headers).status_code == 413


def test_text_that_no_database_can_hold_is_mended_not_refused(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.request("POST", "/api/conversations").json["id"]
    path = f"/api/conversations/{conversation_id}/messages"
    alice.request("POST", path, data=rb'{"content": "echo a\ud800b\u0000c \ud83d\ude00 \u2028 d"}').get_data()
    assert saved(alice, conversation_id)[-1] == ("assistant", "a?b\ufffdc 😀 \u2028 d", "complete")


def test_a_conversation_deleted_in_mid_answer_stays_deleted_and_the_engine_stops(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("hello")
    path = f"/api/conversations/{conversation_id}/messages"
    answer = alice.request("POST", path, json={"content": "slow 200"}, buffered=False)
    chunks = answer.iter_encoded()
    next(chunks)
    assert alice.request("DELETE", f"/api/conversations/{conversation_id}").status_code == 204
    assert json.loads(b"".join(chunks).splitlines()[-1])["state"] == "stopped"
    answer.close()
    web.engine.wait_until_gone()
    assert list((web.paths.data / "answers").iterdir()) == []
    assert alice.request("GET", f"/api/conversations/{conversation_id}").status_code == 404


def test_a_conversation_that_was_never_used_is_not_listed(web: WebApp) -> None:
    alice = web.login("alice")
    alice.request("POST", "/api/conversations")
    assert alice.request("GET", "/api/conversations").json == {"conversations": []}


def test_the_audit_log_has_a_line_for_each_event_and_no_text(web: WebApp) -> None:
    alice = web.login("alice")
    alice.new_conversation("echo unmistakable")
    alice.client.post("/logout", data={"csrf_token": alice.csrf_token})
    text = (web.paths.log / "audit.jsonl").read_text()
    assert [json.loads(line)["event"] for line in text.splitlines()] == ["login", "question", "chat", "logout"]
    assert "unmistakable" not in text
    assert (web.paths.log / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_client_that_leaves_once_it_has_read_the_end_mark_is_no_stopped_answer(web: WebApp) -> None:
    headers = {"Authorization": f"Bearer {web.add_key('reports')}"}
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    answer = web.app.test_client().post("/v1/chat/completions", json=body, headers=headers, buffered=False)
    for chunk in answer.iter_encoded():
        if b"[DONE]" in chunk:
            break
    answer.close()
    last = json.loads((web.paths.log / "audit.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["outcome"]) == ("completion", "complete")
