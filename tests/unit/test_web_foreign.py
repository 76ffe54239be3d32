"""The web tier before somebody else's server: vLLM's and llama-server's shapes, their errors, and broken streams."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import foreign_server
import pytest
from flask.testing import FlaskClient
from foreign_server import CHAT, ForeignServer, answer, error, models, piece, stream
from ports import free_port
from web_app import LoggedIn, WebApp, web_app

from service.web import engine_client

KEY = "sk-of-another-server"
DONE = "data: [DONE]\n\n"
USAGE = {"prompt_tokens": 50, "completion_tokens": 11, "total_tokens": 61}
VLLM = (piece(role="assistant", content=""), piece("Hello"), piece(" you", "stop"), {"choices": [], "usage": USAGE})
TIMINGS = {"cache_n": 32, "prompt_n": 18, "predicted_n": 11, "predicted_ms": 500.0, "predicted_per_second": 22.04}
LLAMA_SERVER = (
    piece(role="assistant", content=None),
    piece("Hello"),
    piece(" you"),
    {**piece(None, "stop"), "timings": TIMINGS},
)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebApp, ForeignServer]]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "key").write_text(f"{KEY}\n")
    with foreign_server.running() as foreign:
        settings = f'[engine]\nurl = "{foreign.url}/"\napi_key_file = "{folder / "key"}"\n'
        with web_app(folder, settings) as web:
            web.add_user("alice")
            yield web, foreign


@pytest.fixture(scope="module")
def alice(both: tuple[WebApp, ForeignServer]) -> LoggedIn:
    return both[0].login("alice")


@pytest.fixture(scope="module")
def program(both: tuple[WebApp, ForeignServer]) -> Program:
    return Program(both[0].app.test_client(), both[0].add_key("script"))


@pytest.fixture
def foreign(both: tuple[WebApp, ForeignServer]) -> ForeignServer:
    server = both[1]
    server.replies = {"/v1/models": answer(200, models("Qwen/Qwen2.5-7B")), CHAT: stream(*VLLM, DONE)}
    for seen in (server.asked, server.requests, server.headers):
        seen.clear()
    return server


class Program:
    """Somebody's script with an API key."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {key}"}

    def chat(self, model: str = "default", is_stream: bool = True, **headers: str):
        body = {"model": model, "stream": is_stream, "messages": [{"role": "user", "content": "hello"}]}
        return self.client.post("/v1/chat/completions", json=body, headers={**self.headers, **headers}, buffered=True)


def ask(alice: LoggedIn, conversation_id: str = "", question: str = "hello"):
    conversation_id = conversation_id or alice.request("POST", "/api/conversations").json["id"]
    return alice.request("POST", f"/api/conversations/{conversation_id}/messages", json={"content": question})


def told(response) -> tuple[str, dict]:
    """The text that came, and the end."""
    events = [json.loads(line) for line in response.text.splitlines()]
    return "".join(event["text"] for event in events if event["type"] == "text"), events[-1]


def test_the_key_is_shown_and_nobody_is_named(both, foreign: ForeignServer, alice: LoggedIn, program: Program) -> None:
    assert told(ask(alice))[0] == "Hello you"
    answered = program.chat(**{"X-Ferry-User": "user-1", "X-Ferry-Conversation": "stolen", "Cookie": "a=b"})
    assert answered.status_code == 200 and answered.text.endswith(DONE)
    assert len(foreign.requests) == 2 and both[0].engine.requests == []
    for headers in foreign.headers:
        assert headers["Authorization"] == f"Bearer {KEY}"
        assert not [name for name in headers if name.lower().startswith(("x-ferry", "cookie", "x-csrf"))]
    assert {request["model"] for request in foreign.requests} == {"Qwen/Qwen2.5-7B"}


def test_the_page_gets_the_figures_of_both_kinds_of_servers(foreign: ForeignServer, alice: LoggedIn) -> None:
    text, end = told(ask(alice))
    assert text == "Hello you" and end["figures"].pop("tokens_per_s") > 0
    assert end == {"type": "end", "state": "complete", "figures": {"prompt_tokens": 50, "answer_tokens": 11}}
    foreign.replies[CHAT] = stream(*LLAMA_SERVER, DONE)
    text, end = told(ask(alice))
    assert (text, end["figures"]) == ("Hello you", {"cached_tokens": 32, "answer_tokens": 11, "tokens_per_s": 22.0})


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((piece("no role"), piece(None, "stop"), DONE), "no role"),
        ((piece("no usage", "stop"), DONE), "no usage"),
        ((piece("no mark"), piece(None, "stop")), "no mark"),
        ((": a comment\n\n", "event: message\n", piece("a comment", "stop"), DONE), "a comment"),
        ((": waiting for nothing\n\n", ': waiting {"position": []}\n\n', piece("x", "stop"), DONE), "x"),
        ((piece(), piece(content=None), {"choices": []}, {"choices": None}, {}, piece("empty", "stop"), DONE), "empty"),
        (({"choices": [None]}, {"choices": [{"delta": None}]}, piece("odd", "stop"), {"usage": 7}, DONE), "odd"),
        ((piece(reasoning_content="Hm."), piece(reasoning="Hm."), piece("thought", "stop"), DONE), "thought"),
        ((piece(content=["a", "list"]), piece("text", "stop"), "data:[DONE]\n\n"), "text"),
    ],
)
def test_streams_of_every_kind_are_read_to_their_end(
    foreign: ForeignServer, alice: LoggedIn, program: Program, events: tuple, expected: str
) -> None:
    foreign.replies[CHAT] = stream(*events)
    text, end = told(ask(alice))
    assert (text, end["state"]) == (expected, "complete")
    handed_on = program.chat()
    assert handed_on.text.rstrip().endswith("[DONE]") and '"error"' not in handed_on.text


def test_lines_may_end_as_on_windows(foreign: ForeignServer, alice: LoggedIn, program: Program) -> None:
    foreign.replies[CHAT] = stream(piece("Hello"), piece(" you", "stop"), "data: [DONE]\r\n\r\n", end="\r\n\r\n")
    assert told(ask(alice))[0] == "Hello you"
    assert program.chat().text.count("[DONE]") == 1


def test_a_model_that_reasons_first_is_said_to_be_thinking_once(foreign: ForeignServer, alice: LoggedIn) -> None:
    foreign.replies[CHAT] = stream(piece(reasoning_content="Hm."), piece(reasoning_content="So."), piece("42", "stop"))
    kinds = [json.loads(line)["type"] for line in ask(alice).text.splitlines()]
    assert kinds == ["start", "thinking", "text", "end"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (stream(piece("half")), "broke off before its end"),
        (stream(piece("half"), is_cut=True), "the engine was lost"),
        (stream(piece("half"), "data: {broken\n\n"), "not JSON"),
        (stream(piece("half"), error(500, "EngineCore died", "InternalServerError"), DONE), "EngineCore died"),
        (stream(piece("half"), {"error": "out of memory"}, DONE), "out of memory"),
        (stream(piece("half"), 'error: {"code": 500, "message": "slot gone"}\n\n'), "slot gone"),
    ],
)
def test_a_stream_that_breaks_off_is_kept_and_marked(
    both, foreign: ForeignServer, alice: LoggedIn, program: Program, reply: bytes, words: str
) -> None:
    foreign.replies[CHAT] = reply
    text, end = told(ask(alice))
    assert (text, end["state"]) == ("half", "failed") and words in end["message"]
    if "not JSON" not in words:  # handed on as it is
        handed_on = program.chat().text
        assert "half" in handed_on and words in handed_on and handed_on.count("error") in (1, 2, 3)
        last = json.loads((both[0].paths.log / "audit.jsonl").read_text().splitlines()[-1])
        assert (last["event"], last["outcome"]) == ("completion", "failed")


@pytest.mark.parametrize(
    ("reply", "status", "code", "words"),
    [
        (answer(401, {"error": "Unauthorized"}), 502, "engine_refused", "does not accept this service's key"),
        (answer(403, f"<h1>{KEY}</h1>"), 502, "engine_refused", "does not accept this service's key"),
        (answer(404, {"detail": "Not Found"}), 404, "model_not_found", "Not Found"),
        (answer(429, {"error": {"message": "Slow down."}}, Retry_After="17"), 429, "busy", "Slow down."),
        (answer(429, "<h1>Too many</h1>"), 429, "busy", "The engine answered with status 429."),
        (answer(500, "<html><h1>Oops</h1></html>"), 502, "engine_error", "The engine answered with status 500."),
        (answer(502, "<html>nginx</html>"), 503, "engine_away", "The engine answered with status 502."),
        (answer(503, {"error": {"code": 503, "message": "Loading model"}}), 503, "engine_away", "Loading model"),
        (answer(307, "", Location="/elsewhere"), 502, "engine_error", "The engine answered with status 307."),
        (answer(400, error(400, "bad temperature")), 400, "engine_error", "bad temperature"),
        (answer(422, {"detail": [{"loc": ["body"]}]}), 422, "engine_error", "The engine answered with status 422."),
        (answer(400, {"object": "error", "message": "old vLLM", "code": 400}), 400, "engine_error", "old vLLM"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 503, "engine_away", "the engine was lost"),
        (b"HTTP/1.1 200 OK\r\nServer: cut-short\r\n", 503, "engine_away", "the engine was lost"),
        (b"not HTTP at all\r\n\r\n", 503, "engine_away", "the engine was lost"),
    ],
)
def test_errors_become_ours_and_nothing_is_kept(
    foreign: ForeignServer, alice: LoggedIn, program: Program, reply: bytes, status: int, code: str, words: str
) -> None:
    foreign.replies[CHAT] = reply
    for response in (ask(alice), program.chat(), program.chat(is_stream=False)):
        found = response.json["error"]
        assert (response.status_code, found["code"]) == (status, code) and words in found["message"]
        assert "<h1>" not in response.text and KEY not in response.text
        after = "17" if words == "Slow down." else "5" if status == 503 else None
        assert response.headers.get("Retry-After") == after


def test_an_answer_that_is_shorter_than_announced_is_none(
    foreign: ForeignServer, alice: LoggedIn, program: Program
) -> None:
    whole = answer(200, {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})
    foreign.replies[CHAT] = whole[:-1]
    assert told(ask(alice))[1]["state"] == "failed"
    assert program.chat(is_stream=False).json["error"]["code"] == "engine_away"
    foreign.replies[CHAT] = whole
    assert program.chat(is_stream=False).json["choices"][0]["message"]["content"] == "yes"


def test_a_page_instead_of_an_answer_is_no_answer(foreign: ForeignServer, alice: LoggedIn, program: Program) -> None:
    foreign.replies[CHAT] = answer(200, "<html>Please accept our terms</html>")
    assert told(ask(alice))[1]["state"] == "failed"
    for is_stream in (True, False):
        refused = program.chat(is_stream=is_stream)
        assert (refused.status_code, refused.json["error"]["code"]) == (502, "engine_error")


CONTEXT_ERRORS = (
    error(400, "This model's maximum context length is 2048 tokens. However, you requested 2560 tokens"),
    error(400, "The decoder prompt (length 3000) is longer than the maximum model length of 2048."),
    {"error": {"code": 400, "message": "the request is too large", "type": "exceed_context_size_error", "n_ctx": 2048}},
    {"error": {"code": "context_length_exceeded", "message": "too long", "type": "invalid_request_error"}},
)


@pytest.mark.parametrize("body", CONTEXT_ERRORS, ids=["vllm", "older vllm", "llama-server", "openai"])
def test_a_context_that_is_too_small_is_understood_and_remembered(
    foreign: ForeignServer, alice: LoggedIn, body: dict
) -> None:
    conversation_id = alice.new_conversation("one")
    for word in ("two", "three", "four"):
        ask(alice, conversation_id, word).get_data()
    shown: list[int] = []

    def reply(connection: socket.socket) -> None:
        shown.append(len(foreign.requests[-1]["messages"]))
        connection.sendall(answer(400, body) if shown[-1] > 5 else stream(*VLLM, DONE))

    foreign.replies[CHAT] = reply
    assert told(ask(alice, conversation_id, "five"))[0] == "Hello you"
    assert told(ask(alice, conversation_id, "six"))[0] == "Hello you"
    assert told(ask(alice, conversation_id, "seven"))[0] == "Hello you"
    assert shown == [9, 5, 7, 3, 5]  # five turns, then from the third on; from the fourth on, and on from there
    starts = [request["messages"][0]["content"] for request in foreign.requests[-5:]]
    assert starts == ["one", "three", "three", "five", "five"]
    foreign.replies[CHAT] = answer(400, body)
    refused = ask(alice, conversation_id, "eight")
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "context_length_exceeded")


def test_a_server_that_changes_its_model_is_asked_for_its_name_again(foreign: ForeignServer, program: Program) -> None:
    program.chat()
    unknown = answer(404, error(404, "The model `Qwen/Qwen2.5-7B` does not exist.", "NotFoundError"))

    def reply(connection: socket.socket) -> None:
        is_known = foreign.requests[-1]["model"] == "Qwen3"
        connection.sendall(stream(*VLLM, DONE) if is_known else unknown)

    foreign.replies |= {CHAT: reply, "/v1/models": answer(200, models("Qwen3"))}
    assert "Hello" in program.chat().text
    assert program.chat("Qwen/Qwen2.5-7B").json["error"]["code"] == "model_not_found"
    foreign.replies[CHAT] = unknown
    assert program.chat().status_code == 404


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"/v1/models": answer(401, {"error": "Unauthorized"})}, "does not accept the key"),
        ({"/v1/models": answer(404, {"detail": "Not Found"})}, "most addresses end in /v1"),
        ({"/v1/models": answer(500, "<html>")}, "status 500"),
        ({"/v1/models": answer(200, "<html>")}, "not JSON"),
        ({"/v1/models": answer(200, {"data": []})}, "lists no model"),
        ({"/health": answer(503, {"error": {"message": "Loading model", "code": 503}})}, "Loading model"),
        ({"/health": answer(503, "<html>")}, "status 503"),
        (
            {"/readyz": answer(503, {"ready": False, "reason": "the engine is not running"})},
            "the engine is not running",
        ),
        ({"/health": answer(200, {"status": "ok"}), "/readyz": answer(503, {})}, ""),
        ({"/health": answer(401, {})}, ""),
        ({}, ""),
    ],
)
def test_ready_means_that_the_other_server_can_answer(
    both, foreign: ForeignServer, replies: dict, expected: str
) -> None:
    foreign.replies |= replies
    ready = both[0].app.test_client().get("/readyz")
    if expected:
        assert ready.status_code == 503 and expected in ready.json["reason"]
    else:
        assert (ready.status_code, ready.json) == (200, {"ready": True, "model": "Qwen/Qwen2.5-7B"})


def test_a_server_that_says_nothing_is_given_up(
    foreign: ForeignServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_client, "FIRST_BYTE_GRACE_S", -0.8)
    foreign.replies[CHAT] = foreign_server.silence
    with web_app(tmp_path, f'[engine]\nurl = "{foreign.url}"\n[queue]\ntimeout_s = 1\n') as web:
        refused = Program(web.app.test_client(), web.add_key("script")).chat()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert "did not answer in time" in refused.json["error"]["message"]


def test_a_server_that_is_not_there_is_named_as_such(tmp_path: Path) -> None:
    with web_app(tmp_path, f'[engine]\nurl = "http://127.0.0.1:{free_port()}/v1"\n') as web:
        refused = Program(web.app.test_client(), web.add_key("script")).chat()
        reason = web.app.test_client().get("/readyz").json["reason"]
    assert refused.status_code == 503 and refused.json["error"]["code"] == "engine_away"
    assert reason == "the server at [engine] url cannot be reached"


def test_our_own_engines_elsewhere_are_told_who_asks_where_the_operator_says_so(
    foreign: ForeignServer, tmp_path: Path
) -> None:
    with web_app(tmp_path, f'[engine]\nurl = "{foreign.url}"\nforward_user = true\n') as web:
        web.add_user("bob")
        bob = web.login("bob")
        conversation_id = bob.new_conversation("hello")
        Program(web.app.test_client(), web.add_key("script", "bob")).chat(**{"X-Ferry-Conversation": conversation_id})
    asked = [headers for path, headers in zip(foreign.asked, foreign.headers, strict=True) if path == CHAT]
    assert [headers["X-Ferry-User"] for headers in asked] == ["user-1", "user-1"]
    assert asked[0]["X-Ferry-Conversation"] == conversation_id and "X-Ferry-Conversation" not in asked[1]
    assert not [headers for headers in foreign.headers if "Authorization" in headers]


def test_a_stopped_question_ends_at_the_other_server_too(foreign: ForeignServer, both) -> None:
    gone = threading.Event()

    def reply(connection: socket.socket) -> None:
        connection.sendall(stream(piece("half"), is_cut=True))
        if connection.recv(1) == b"":
            gone.set()

    foreign.replies[CHAT] = reply
    cancel = engine_client.Cancel()
    engine = both[0].app.extensions["ferry"].engine
    chunks = engine.post("chat/completions", {"model": "m", "messages": []}, "user-1", cancel).chunks()
    assert b"half" in next(chunks)
    cancel.set()
    assert gone.wait(10)
    with pytest.raises(engine_client.Cancelled):
        list(chunks)
