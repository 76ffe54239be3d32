"""What holds around the answers: the list of models, addresses, connections, many clients at once, hanging up."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
from conformance_target import CHAT, Target, chunks_of, error_of, joined, text_of

# The first tokens of a vocabulary are often those that end an answer: a random model would take one soon.
LONG: dict[str, Any] = {"max_tokens": 1500, "temperature": 1.5, "logit_bias": {"0": -100, "2": -100}}
MANY = 8


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_the_list_of_models_names_the_model(target: Target) -> None:
    listed = target.get("/v1/models").json()
    assert listed["object"] == "list" and target.model in [model["id"] for model in listed["data"]]
    for model in listed["data"]:
        assert model["object"] == "model" and isinstance(model["created"], int) and isinstance(model["owned_by"], str)


def test_a_model_can_be_looked_up(target: Target) -> None:
    assert target.get(f"/v1/models/{target.model}").json()["id"] == target.model
    error_of(target.get("/v1/models/no-such-model"), 404)


def test_the_model_tells_the_size_of_its_context(target: Target) -> None:
    assert target.get(f"/v1/models/{target.model}").json()["context_length"] > 0


def test_a_model_that_is_not_here_is_404(target: Target) -> None:
    assert target.refusal(404, model="no-such-model")["code"] == "model_not_found"


def test_an_address_that_is_none_is_404(target: Target) -> None:
    error_of(target.get("/v1/no/such/address"), 404)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_method_that_is_not_meant_is_405(target: Target, method: str) -> None:
    with target.client() as client:
        response = client.request(method, CHAT)
    error_of(response, 405)
    assert "POST" in response.headers["Allow"]


def test_no_other_page_may_read_an_answer(target: Target) -> None:
    with target.client(Origin="http://elsewhere.example") as client:
        answered = client.post(CHAT, json=target.body(max_tokens=1))
        asked = client.options(CHAT, headers={"Access-Control-Request-Method": "POST"})
    for response in (answered, asked):
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]


def test_answers_are_json_in_utf_8(target: Target) -> None:
    response = target.ask(target.body())
    assert response.headers["Content-Type"].startswith("application/json")
    json.loads(response.content.decode("utf-8"))


def test_a_body_may_come_in_chunks(target: Target) -> None:
    data = json.dumps(target.body(max_tokens=1)).encode()
    with target.client() as client:
        response = client.post(CHAT, content=iter([data[:10], data[10:]]), headers={"Content-Type": "application/json"})
    assert response.status_code == 200


def test_a_charset_in_the_content_type_is_fine(target: Target) -> None:
    data = json.dumps(target.body(max_tokens=1)).encode()
    assert target.send(data, **{"Content-Type": "application/json; charset=utf-8"}).status_code == 200


def connection(response: httpx.Response) -> Any:
    return response.extensions["network_stream"]


def test_a_connection_is_kept_from_answer_to_answer(target: Target) -> None:
    with target.client() as client:
        streams = [connection(client.post(CHAT, json=target.body(max_tokens=1))) for _ in range(3)]
    assert streams[0] is streams[1] is streams[2]


def test_a_connection_is_kept_after_an_error_and_after_a_stream(target: Target) -> None:
    with target.client() as client:
        refused = client.post(CHAT, json=target.body(temperature=9))
        with client.stream("POST", CHAT, json=target.body(stream=True)) as streamed:
            assert list(chunks_of(streamed))
        answered = client.post(CHAT, json=target.body(max_tokens=1))
    assert [response.status_code for response in (refused, streamed, answered)] == [400, 200, 200]
    assert connection(refused) is connection(streamed) is connection(answered)


def test_many_at_once_get_the_answers_that_they_get_alone(target: Target) -> None:
    def ask(number: int) -> str:
        messages = [{"role": "user", "content": f"Count up to {number}."}]
        return target.text(messages=messages, max_tokens=12)

    alone = [ask(number) for number in range(MANY)]
    assert at_once(MANY, ask) == alone


def test_a_seed_gives_the_same_beside_strangers(target: Target) -> None:
    def ask(number: int) -> str:
        return target.text(temperature=1.5, seed=11 if number == 0 else None, max_tokens=16)

    assert at_once(4, ask)[0] == ask(0)


def test_a_short_answer_does_not_wait_for_a_long_one(target: Target) -> None:
    has_begun, may_end = Event(), Event()

    def read_long() -> None:
        with target.streaming(**LONG) as (_, chunks):
            for _ in chunks:
                has_begun.set()
                if may_end.is_set():
                    return

    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(read_long)
        assert has_begun.wait(60)
        assert target.answer(max_tokens=1)["choices"]
        was_running = not long.done()
        may_end.set()
        long.result()
    assert was_running


def test_streams_side_by_side_do_not_mix(target: Target) -> None:
    def ask(number: int) -> tuple[int, str]:
        chunks = target.chunks(max_tokens=12, messages=[{"role": "user", "content": f"Say {number % 2}."}])
        assert len({chunk["id"] for chunk in chunks}) == 1
        return number % 2, joined(chunks)

    assert len(set(at_once(6, ask))) == 2


@pytest.mark.parametrize("moment", ["before the first chunk", "in the middle"])
def test_who_hangs_up_takes_nobodys_place(target: Target, moment: str) -> None:
    for _ in range(20):  # more than any queue of ours holds: each has to be let go of
        with target.streaming(**LONG) as (response, chunks):
            assert response.status_code == 200
            if moment == "in the middle":
                next(chunks)
    assert target.answer(max_tokens=1)["choices"]


def test_who_hangs_up_on_a_whole_answer_takes_nobodys_place(target: Target) -> None:
    for _ in range(20):
        with target.client() as client, pytest.raises(httpx.TimeoutException):
            client.post(CHAT, json=target.body(**LONG), timeout=0.05)
    assert target.answer(max_tokens=1)["choices"]


def test_everybody_is_answered_or_told_when_to_come_back(target: Target) -> None:
    def ask(_: int) -> int:
        response = target.ask(target.body(max_tokens=40))
        if response.status_code != 200:
            assert error_of(response, 429)["type"] == "rate_limit_error"
            assert int(response.headers["Retry-After"]) >= 1
        else:
            assert text_of(response.json()["choices"][0])
        return response.status_code

    assert 200 in at_once(32, ask)
    assert target.answer(max_tokens=1)["choices"]
