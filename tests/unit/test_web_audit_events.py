"""The audit log has what an auditor looks for: what became of conversations, of refused questions, of passwords."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from web_app import LoggedIn, WebApp, web_app
from web_process import PASSWORD

from service.web import audit_verify
from service.web.models import Usage, User

SECRET = "ünmistakable words"


@pytest.fixture
def web(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[WebApp]:
    with web_app(tmp_path) as web:
        for name, role in (("alice", "user"), ("bob", "user"), ("root", "administrator")):
            web.add_user(name, role)
        yield web
        assert audit_verify.verify(web.paths.log, web.paths.data, jobs=1).is_ok
        assert "nmistakable" not in (web.paths.log / "audit.jsonl").read_text()


@pytest.fixture
def alice(web: WebApp) -> LoggedIn:
    return web.login("alice")


def events(web: WebApp, kind: str) -> list[dict[str, object]]:
    lines = (web.paths.log / "audit.jsonl").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found["event"] == kind]


def break_log(web: WebApp) -> None:
    for path in web.paths.log.iterdir():
        path.unlink()
    web.paths.log.rmdir()


def test_a_deleted_conversation_is_recorded_by_its_id(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation(f"echo {SECRET}")
    assert web.login("bob").request("DELETE", f"/api/conversations/{chat}").status_code == 404
    assert events(web, "conversation_deleted") == []
    assert alice.request("DELETE", f"/api/conversations/{chat}").status_code == 204
    (found,) = events(web, "conversation_deleted")
    assert (found["user"], found["address"], found["conversation"]) == ("alice", "127.0.0.1", chat)


def test_an_exported_conversation_is_recorded_by_its_id_and_form(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.new_conversation(f"echo {SECRET}")
    path = f"/api/conversations/{chat}/export"
    assert [alice.request("GET", f"{path}?format={form}").status_code for form in ("markdown", "json", "pdf")] == [
        200,
        200,
        400,
    ]
    assert web.login("bob").request("GET", path).status_code == 404
    found = [(each["user"], each["conversation"], each["format"]) for each in events(web, "conversation_exported")]
    assert found == [("alice", chat, "markdown"), ("alice", chat, "json")]


def test_what_cannot_be_recorded_is_neither_deleted_nor_exported(tmp_path: Path) -> None:
    with web_app(tmp_path) as web:
        web.add_user("alice")
        alice = web.login("alice")
        chat = alice.new_conversation("echo kept")
        break_log(web)
        for method, path in (("DELETE", ""), ("GET", "/export")):
            answer = alice.request(method, f"/api/conversations/{chat}{path}")
            assert (answer.status_code, answer.json["error"]["code"]) == (503, "audit_unavailable")
        assert len(alice.request("GET", f"/api/conversations/{chat}").json["messages"]) == 2


def test_a_question_beyond_the_quota_is_recorded_without_its_text(web: WebApp, alice: LoggedIn) -> None:
    chat, key = alice.new_conversation("echo once"), web.add_key("reports", "alice")
    with web.database.begin() as session:
        session.execute(update(User).where(User.name == "alice").values(tokens_per_day=1))
    asked = alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": SECRET})
    body = {"model": "default", "messages": [{"role": "user", "content": SECRET}]}
    headers = {"Authorization": f"Bearer {key}"}
    program = web.app.test_client().post("/v1/chat/completions", headers=headers, json=body)
    assert [each.status_code for each in (asked, program)] == [429, 429]
    page, api = events(web, "question_refused")
    assert page["reason"] == api["reason"] == "insufficient_quota"
    assert (page["user"], page["conversation"]) == ("alice", chat)
    assert api["endpoint"] == "chat/completions" and isinstance(api["key"], int)
    assert len(events(web, "question")) == 1


def test_a_question_that_found_the_queue_full_is_recorded_with_that_reason(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.request("POST", "/api/conversations").json["id"]
    alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "busy"})
    headers, messages = {"Authorization": f"Bearer {web.add_key('reports')}"}, [{"role": "user", "content": "busy"}]
    web.app.test_client().post("/v1/chat/completions", headers=headers, json={"model": "m", "messages": messages})
    found = [each for kind in ("chat", "completion") for each in events(web, kind)]
    assert [(each["outcome"], each["reason"]) for each in found] == [("refused", "queue_full")] * 2


def test_an_engine_that_is_away_is_the_recorded_reason(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.request("POST", "/api/conversations").json["id"]
    web.engine.stop()
    assert alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "echo"}).status_code == 503
    assert [each["reason"] for each in events(web, "chat")] == ["engine_away"]


def test_another_s_password_is_reset_and_one_s_own_is_changed(
    web: WebApp, alice: LoggedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"current": PASSWORD, "password": "another one", "repeat": "another one"}
    assert alice.request("POST", "/account/password", data=form).status_code == 302
    with web.database.begin() as session:
        bob = session.query(User).where(User.name == "bob").one().id
    assert web.login("root").request("POST", f"/admin/users/{bob}/password").status_code == 200
    assert [(each["user"], each.get("subject")) for each in events(web, "password_changed")] == [("alice", None)]
    assert [(each["user"], each["subject"]) for each in events(web, "password_reset")] == [("root", "bob")]


def test_the_tokens_of_a_stopped_answer_are_recorded_as_they_are_counted(web: WebApp, alice: LoggedIn) -> None:
    chat = alice.request("POST", "/api/conversations").json["id"]
    path = f"/api/conversations/{chat}/messages"
    answer = alice.request("POST", path, json={"content": "slow 200"}, buffered=False)
    chunks = answer.iter_encoded()
    start = json.loads(next(chunks).splitlines()[0])
    while b'"text"' not in next(chunks):
        pass
    alice.request("POST", f"{path}/{start['answer_id']}/stop")
    list(chunks)
    answer.close()
    (found,) = events(web, "chat")
    assert found["outcome"] == "stopped"
    assert found["prompt_tokens"] > 0 and 0 < found["answer_tokens"] < 200
    with web.database.begin() as session:
        counted = session.query(Usage).one().tokens
    assert counted == found["prompt_tokens"] + found["answer_tokens"]
