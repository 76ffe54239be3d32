"""What the audit log is told of questions and answers, how much of their text, and how the page shows it."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_logs import event
from sqlalchemy import select
from web_app import WebApp, web_app

from service.web import audit_export, audit_pages, audit_verify, consents
from service.web.audit_log import Log
from service.web.models import User

QUESTION = "echo ünmistakable 你好"
ANSWER = "ünmistakable 你好"


@pytest.fixture
def web(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[WebApp]:
    """A service with an account of each role; a test's mark says what the log holds."""
    mark = request.node.get_closest_marker("parametrize")
    content = request.node.callspec.params.get("content", "none") if mark else "none"
    with web_app(tmp_path, f'[audit]\ncontent = "{content}"\n') as web:
        for name, role in (("alice", "user"), ("olga", "auditor"), ("root", "administrator")):
            web.add_user(name, role)
        yield web


def events(web: WebApp, kind: str) -> list[dict[str, object]]:
    lines = (web.paths.log / "audit.jsonl").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found["event"] == kind]


def page(web: WebApp, path: str = "/audit", who: str = "olga") -> str:
    answer = web.login(who).request("GET", path)
    assert answer.status_code == 200
    return answer.text


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_chat_is_recorded_before_the_model_is_asked_and_when_it_has_ended(web: WebApp) -> None:
    conversation = web.login("alice").new_conversation(QUESTION)
    (question,), (chat,) = events(web, "question"), events(web, "chat")
    for found in (question, chat):
        assert (found["user"], found["address"], found["conversation"]) == ("alice", "127.0.0.1", conversation)
    assert (chat["outcome"], chat["model"], chat["asked"]) == ("complete", "fake-model", question["seq"])
    assert (chat["prompt_tokens"], chat["cached_tokens"], chat["answer_tokens"]) == (100, 64, 20)
    assert "nmistakable" not in (web.paths.log / "audit.jsonl").read_text()


@pytest.mark.parametrize("content", ["digest"])
def test_a_digest_is_that_of_the_text_alone(web: WebApp, content: str) -> None:
    web.login("alice").new_conversation(QUESTION)
    assert events(web, "question")[0]["question_sha256"] == sha256(QUESTION)
    assert events(web, "chat")[0]["answer_sha256"] == sha256(ANSWER)
    assert "nmistakable" not in (web.paths.log / "audit.jsonl").read_text()


@pytest.mark.parametrize("content", ["full"])
def test_nobody_asks_anything_before_they_agree_to_a_full_record(web: WebApp, content: str) -> None:
    alice = web.login("alice")
    conversation = alice.request("POST", "/api/conversations").json["id"]
    refused = alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": QUESTION})
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "consent_required")
    assert alice.request("GET", "/").headers["Location"] == "/consent"
    assert "word by word" in alice.request("GET", "/consent").text
    assert alice.request("POST", "/consent", data={"answer": "agree"}).headers["Location"] == "/"
    assert "are recorded in full" in alice.request("GET", "/").text
    assert alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": QUESTION}).data
    assert (events(web, "question")[0]["question"], events(web, "chat")[0]["answer"]) == (QUESTION, ANSWER)
    alice.request("POST", "/consent", data={"answer": "withdraw"})
    refused = alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": QUESTION})
    assert (refused.status_code, len(events(web, "question"))) == (403, 1)
    assert [len(events(web, kind)) for kind in ("consent", "consent_withdrawn")] == [1, 1]


def ask(web: WebApp, key: str, **body: object):
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": "default", **body}
    return web.app.test_client().post("/v1/chat/completions", headers=headers, json=body, buffered=True)


@pytest.mark.parametrize("content", ["full"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_program_s_request_is_recorded_with_all_it_sent(web: WebApp, content: str, stream: bool) -> None:
    own, of_alice = web.add_key("reports"), web.add_key("alice's", "alice")
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}]
    assert ask(web, of_alice, messages=messages).json["error"]["code"] == "consent_required"
    assert b"nmistakable" in ask(web, own, messages=messages, stream=stream).data
    (question,), (answer,) = events(web, "question"), events(web, "completion")
    assert (question["user"], question["question"], question["messages"]) == ("key reports", QUESTION, messages)
    assert (answer["answer"], answer["outcome"], answer["asked"]) == (ANSWER, "complete", question["seq"])
    assert (answer["model"], answer["endpoint"]) == ("fake-model", "chat/completions")


@pytest.mark.parametrize("content", ["digest"])
def test_a_prompt_without_a_chat_is_recorded_too(web: WebApp, content: str) -> None:
    headers = {"Authorization": f"Bearer {web.add_key('reports')}"}
    body = {"model": "default", "prompt": QUESTION, "stream": True}
    assert web.app.test_client().post("/v1/completions", headers=headers, json=body).data
    assert events(web, "question")[0]["question_sha256"] == sha256(QUESTION)


def test_a_request_that_the_engine_refuses_is_recorded_as_refused(web: WebApp) -> None:
    assert ask(web, web.add_key("reports"), messages=[{"role": "user", "content": "busy"}]).status_code == 429
    alice = web.login("alice")
    conversation = alice.request("POST", "/api/conversations").json["id"]
    assert alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": "busy"}).status_code
    assert [found["outcome"] for kind in ("completion", "chat") for found in events(web, kind)] == ["refused"] * 2


def test_without_a_log_nobody_logs_in_and_nothing_is_asked(web: WebApp) -> None:
    alice, key = web.login("alice"), web.add_key("reports")
    conversation = alice.request("POST", "/api/conversations").json["id"]
    for path in web.paths.log.iterdir():
        path.unlink()
    web.paths.log.rmdir()
    asked = alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": QUESTION})
    program = ask(web, key, messages=[{"role": "user", "content": QUESTION}])
    assert [(each.status_code, each.json["error"]["code"]) for each in (asked, program)] == [
        (503, "audit_unavailable")
    ] * 2
    assert web.engine.requests == []
    assert alice.request("GET", f"/api/conversations/{conversation}").json["messages"] == []
    with pytest.raises(AssertionError):
        web.login("root")
    web.paths.log.mkdir()
    assert alice.request("POST", f"/api/conversations/{conversation}/messages", json={"content": QUESTION}).data


@pytest.mark.parametrize("content", ["full"])
def test_a_consent_is_void_once_the_setting_was_another(web: WebApp, content: str) -> None:
    def consent() -> float | None:
        with web.database.begin() as session:
            return session.scalar(select(User.consented_at).where(User.name == "alice"))

    assert consents.settle(web.database, "full") == "none"
    web.login("alice").request("POST", "/consent", data={"answer": "agree"})
    assert consents.settle(web.database, "full") is None
    assert consent() is not None
    assert consents.settle(web.database, "digest") == "full"
    assert (consents.settle(web.database, "full"), consent()) == ("digest", None)
    assert (consents.settle(web.database, "none"), consents.settle(web.database, "none")) == ("full", None)


def test_the_users_are_told_when_nothing_is_recorded(tmp_path: Path) -> None:
    with web_app(tmp_path, "[audit]\nenabled = false\n") as web:
        web.add_user("alice")
        web.add_user("olga", "auditor")
        assert "Your questions are not recorded." in web.login("alice").request("GET", "/").text
        assert "switched off" in page(web)


def test_the_page_is_for_auditors_and_administrators(web: WebApp) -> None:
    assert [web.login(name).request("GET", "/audit").status_code for name in ("alice", "olga", "root")] == [
        403,
        200,
        200,
    ]


def test_the_page_shows_the_newest_events_and_what_the_filter_asks_for(web: WebApp) -> None:
    log = Log(web.paths.log, web.paths.data)
    log.append([{**event(number), "user": f"user-{number}"} for number in range(120)])
    text = page(web)
    assert "user-119" in text and "user-60<" not in text
    older = page(web, "/audit?event=test&before=72")
    assert "user-70<" in older and "user-71<" not in older and "user-20<" not in older
    found = page(web, "/audit?user=user-3")
    assert "user-3<" in found and "user-4<" not in found
    assert "No such event was found." in page(web, "/audit?from=2999-01-01")


@pytest.mark.parametrize("content", ["full"])
def test_the_page_shows_texts_as_text(web: WebApp, content: str) -> None:
    Log(web.paths.log, web.paths.data).append([{**event(1), "user": "<b>x</b>", "question": "<script>1</script>"}])
    text = page(web)
    assert "&lt;script&gt;1&lt;/script&gt;" in text and "&lt;b&gt;x" in text
    assert "<script>1" not in text and "<b>x" not in text


def test_the_download_holds_what_the_filter_finds_and_is_recorded(web: WebApp) -> None:
    olga = web.login("olga")
    answer = olga.request("GET", "/audit/export?format=json&event=login")
    assert [found["user"] for found in answer.json] == ["olga"]
    assert olga.request("GET", "/audit/export").text.startswith("seq,at,event,user")
    assert [found["format"] for found in events(web, "audit_exported")] == ["json", "csv"]


def test_the_check_finds_what_was_changed(web: WebApp) -> None:
    olga = web.login("olga")
    assert "Nobody has checked it yet." in olga.request("GET", "/audit").text
    olga.request("POST", "/audit/check")
    assert "Whole: at the last check" in olga.request("GET", "/audit").text
    log = web.paths.log / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"olga", b"olaf", 1))
    olga.request("POST", "/audit/check")
    text = olga.request("GET", "/audit").text
    assert "NOT whole" in text and "audit.jsonl:1" in text


def test_every_event_of_the_filter_has_words_and_every_column_a_name() -> None:
    assert len(set(audit_pages.EVENTS)) == len(audit_pages.EVENTS)
    assert len({*audit_export.COLUMNS, audit_export.MORE}) == len(audit_export.COLUMNS) + 1


def test_all_that_the_service_did_here_makes_one_chain(web: WebApp) -> None:
    web.login("alice").new_conversation(QUESTION)
    page(web)
    assert audit_verify.verify(web.paths.log, web.paths.data, jobs=1).is_ok


def test_every_event_that_is_written_can_be_chosen_in_the_filter() -> None:
    """Looked up in the sources: an event that the list lacks would be in the log, and not to be found by its name."""
    sources = "\n".join(path.read_text() for path in Path(audit_pages.__file__).parent.glob("*.py"))
    written = re.findall(r'(?:\brecord|\.write|\.write_late|\.retire|\.note)\(\s*"([a-z_]+)"', sources)
    assert len(set(written)) > 15
    assert set(written) - set(audit_pages.EVENTS) == set()


def test_what_an_event_says_is_told_in_the_readers_language(web: WebApp) -> None:
    web.login("alice").new_conversation(QUESTION)
    reader = web.login("olga")
    shown = {}
    for language in ("en", "zh"):
        reader.client.get(f"/audit?lang={language}")
        shown[language] = re.findall(r'title="outcome">.*?</span>([^<]+)<', reader.client.get("/audit?event=chat").text)
    assert shown == {"en": ["complete"], "zh": ["完成"]}
