"""The engine as a process, with a very small Qwen2 of random weights: its API over the real unix socket."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
import tiny_model
from engine_process import EngineProcess, chat, events, running

from service.web import load
from service.web.meter import Meter

NAME = "tiny-qwen2"
QUESTION = "the capital of France"
CONTEXT = 4096
# A random model rarely stops by itself: an answer without a limit goes on for seconds.
CONFIG = f"""
[engine]
threads = 1
context_tokens = {CONTEXT}
max_new_tokens = 100000
[queue]
per_user = 2
total = 4
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    model = tiny_model.make(tmp_path_factory.mktemp("tiny"))
    with running(EngineProcess(tmp_path_factory.mktemp("engine"), model, NAME, CONFIG)) as process:
        yield process


@pytest.fixture
def ask(engine: EngineProcess) -> Iterator[Callable[..., Any]]:
    with engine.client() as client:
        yield lambda body, path="/v1/chat/completions", **options: client.post(path, json=body, **options)


@pytest.fixture
def client(engine: EngineProcess) -> Iterator[openai.OpenAI]:
    """The official client, as any program on the server would use it."""
    transport = httpx2.HTTPTransport(uds=str(engine.socket))
    with httpx2.Client(transport=transport) as http:
        yield openai.OpenAI(api_key="none", base_url="http://engine/v1", http_client=http, max_retries=0)


def test_health_names_the_model_and_the_load(engine: EngineProcess) -> None:
    status, body = engine.health()
    assert status == 200
    assert body == {"status": "ok", "model": NAME, "context_tokens": CONTEXT, "running": 0, "waiting": 0}


def test_the_models_list_has_the_one_model(engine: EngineProcess) -> None:
    with engine.client() as http:
        listed = http.get("/v1/models").json()
        assert [model["id"] for model in listed["data"]] == [NAME]
        assert http.get(f"/v1/models/{NAME}").json()["id"] == NAME
        assert http.get("/v1/models/other").status_code == 404


def test_a_stream_has_openais_shape_and_says_what_the_whole_answer_says(ask: Callable[..., Any]) -> None:
    options = {"max_tokens": 40, "temperature": 1.0, "seed": 3}
    whole = ask(chat(QUESTION, **options)).json()
    streamed = ask(chat(QUESTION, stream=True, stream_options={"include_usage": True}, **options))
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *chunks, counts, mark = events(streamed.text.splitlines())
    assert mark == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in [*chunks, counts]}) == 1
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    text = "".join(choice["delta"]["content"] for choice in choices[1:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert (counts["choices"], counts["usage"]) == ([], whole["usage"])


def test_without_a_wish_no_counts_are_streamed(ask: Callable[..., Any]) -> None:
    chunks = list(events(ask(chat(QUESTION, max_tokens=3, stream=True)).text.splitlines()))
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_an_answer_that_reaches_its_limit_says_so(ask: Callable[..., Any]) -> None:
    body = ask(chat(QUESTION, max_tokens=5)).json()
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 5


def test_a_stop_text_ends_the_answer_and_is_not_shown(ask: Callable[..., Any]) -> None:
    options = {"max_tokens": 60, "temperature": 1.0, "seed": 5}
    full = ask(chat(QUESTION, **options)).json()["choices"][0]["message"]["content"]
    stop = full[10:14]
    choice = ask(chat(QUESTION, stop=[stop], **options)).json()["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == full[: full.index(stop)]


def test_a_seed_repeats_an_answer(ask: Callable[..., Any]) -> None:
    def answer(**options: Any) -> str:
        body = ask(chat(QUESTION, max_tokens=20, temperature=1.5, **options)).json()
        return str(body["choices"][0]["message"]["content"])

    assert answer(seed=1) == answer(seed=1) != answer(seed=2)


def test_an_answer_ends_where_the_context_does(ask: Callable[..., Any]) -> None:
    prompt = ask({"prompt": "x" * (CONTEXT - 10), "max_tokens": 100}, "/v1/completions").json()
    assert prompt["choices"][0]["finish_reason"] == "length"
    assert prompt["usage"]["total_tokens"] == CONTEXT


def test_a_prompt_longer_than_the_context_is_refused_with_both_sizes(ask: Callable[..., Any]) -> None:
    response = ask(chat("x" * 2 * CONTEXT))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert str(CONTEXT) in error["message"]
    assert any(int(word) > 2 * CONTEXT for word in error["message"].split() if word.isdigit())


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\x00\xff", b'{"messages": 1, "prompt": 1}', b"[" * 100_000])
def test_garbage_is_answered_with_openais_error_object(engine: EngineProcess, path: str, body: bytes) -> None:
    with engine.client() as http:
        response = http.post(path, content=body)
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_half_a_surrogate_pair_is_the_clients_mistake(engine: EngineProcess) -> None:
    with engine.client() as http:
        body = json.dumps(chat("\ud800")).encode()
        assert http.post("/v1/chat/completions", content=body).status_code == 400


@pytest.mark.parametrize("name", ["gpt-4o", "", "DEFAULT", "../" + NAME])
def test_a_model_that_is_not_here_is_404(ask: Callable[..., Any], name: str) -> None:
    response = ask({**chat(QUESTION, max_tokens=1), "model": name})
    expected = (404, "model_not_found") if name else (200, None)
    assert (response.status_code, response.json().get("error", {}).get("code")) == expected


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405)])
def test_other_addresses_and_methods_have_an_error_object_too(
    engine: EngineProcess, method: str, path: str, status: int
) -> None:
    with engine.client() as http:
        response = http.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_body_beyond_all_measure_is_refused(engine: EngineProcess) -> None:
    with engine.client() as http:
        response = http.post("/v1/completions", content=b" " * (4 << 20))
    assert response.status_code == 413


def test_a_stream_that_waits_begins_at_once_and_tells_its_place(engine: EngineProcess) -> None:
    long = chat(QUESTION, stream=True, logit_bias={"0": -100, "2": -100})
    with engine.client() as first, first.stream("POST", "/v1/chat/completions", json=long) as running:
        answer = running.iter_lines()
        assert next(answer).startswith("data: ")
        short = chat(QUESTION, stream=True, max_tokens=2)
        with engine.client() as second, second.stream("POST", "/v1/chat/completions", json=short) as waiting:
            lines = waiting.iter_lines()
            comment = next(lines)
            answer.close()
            *_, mark = events(lines)
    assert comment.startswith(": waiting ")
    place = json.loads(comment.removeprefix(": waiting "))
    assert place["position"] == 1 and place["wait_s"] >= 0
    assert mark == "[DONE]"


def test_the_model_tells_the_size_of_its_context(engine: EngineProcess) -> None:
    with engine.client() as http:
        (model,) = http.get("/v1/models").json()["data"]
    assert (model["context_length"], model["max_model_len"], model["meta"]["n_ctx"]) == (CONTEXT, CONTEXT, CONTEXT)


def test_a_model_without_tools_refuses_them(ask: Callable[..., Any]) -> None:
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    error = ask(chat(QUESTION, tools=tools)).json()["error"]
    assert (error["param"], error["message"]) == ("tools", "tools: this model has no tools")


def test_metrics_count_what_was_read_and_written(engine: EngineProcess, ask: Callable[..., Any]) -> None:
    before = [engine.counter(name) for name in ("prompt_tokens_total", "generation_tokens_total")]
    usage = ask(chat(QUESTION, max_tokens=7)).json()["usage"]
    after = [engine.counter(name) for name in ("prompt_tokens_total", "generation_tokens_total")]
    counted = [now - then for now, then in zip(after, before, strict=True)]
    assert counted == [usage["prompt_tokens"], usage["completion_tokens"]]


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_the_web_counts_a_stream_that_it_hands_on_as_the_engine_does(
    engine: EngineProcess, ask: Callable[..., Any], path: str
) -> None:
    names = ("prompt_tokens_total", "generation_tokens_total")
    before = [engine.counter(name) for name in names]
    body = {**chat(QUESTION, max_tokens=9, stream=True), "prompt": QUESTION}
    del body["prompt" if path.startswith("chat") else "messages"]
    sent = ask(body, f"/v1/{path}").content
    meter = Meter(len(json.dumps(body)))
    assert meter.feed(sent) + meter.close() == sent
    after = [engine.counter(name) for name in names]
    assert [meter.prompt_tokens, meter.answer_tokens] == [now - then for now, then in zip(after, before, strict=True)]


def test_the_administration_page_finds_every_number_that_it_shows(engine: EngineProcess) -> None:
    with engine.client() as http:
        found = load.numbers(http.get("/metrics").text)
    assert found.keys() == load.NAMES.keys()
    assert 1 << 24 < found["memory_bytes"] < 1 << 36 and found["memory_available_bytes"] > 0


def test_the_openai_client_chats_and_streams(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": QUESTION}]
    whole = client.chat.completions.create(model=NAME, messages=messages, max_tokens=10)
    chunks = list(client.chat.completions.create(model="default", messages=messages, max_tokens=10, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert whole.usage and whole.usage.completion_tokens == 10


def test_the_openai_client_completes_and_lists(client: openai.OpenAI) -> None:
    completion = client.completions.create(model=NAME, prompt="the capital", max_tokens=5)
    assert completion.choices[0].finish_reason == "length"
    assert [model.id for model in client.models.list()] == [NAME]


def test_the_openai_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": QUESTION}]
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=NAME, messages=messages, temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=messages)
