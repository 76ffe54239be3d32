"""The engine as a process, with several answers at once: each is what it is alone, and slots are free when left."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tiny_model
from engine_process import EngineProcess, chat, events, running

CHAT = "/v1/chat/completions"
QUESTIONS = [f"{number}: the capital of " + "France is Paris " * (number * 4) for number in range(8)]
CONFIG = """
[engine]
threads = 1
context_tokens = 16384
slots = {slots}
max_new_tokens = 100000
[queue]
per_user = 64
total = {total}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    model = tiny_model.make(tmp_path_factory.mktemp("tiny"))
    config = CONFIG.format(slots=2, total=16)
    with running(EngineProcess(tmp_path_factory.mktemp("engine"), model, "tiny", config)) as process:
        yield process


def ask(engine: EngineProcess, text: str, user: str = "ann", conversation: str = "", **options: Any) -> dict[str, Any]:
    headers = {"X-Ferry-User": user, "X-Ferry-Conversation": conversation}
    with engine.client() as client:
        response = client.post(CHAT, json=chat(text, **options), headers=headers)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_parallel_answers_are_those_given_alone(engine: EngineProcess) -> None:
    def answer(number: int, user: str) -> str:
        options = {"temperature": float(number % 2), "seed": number, "max_tokens": 24}
        return str(ask(engine, QUESTIONS[number], user, **options)["choices"][0]["message"]["content"])

    alone = [answer(number, "alone") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda number: answer(number, f"user{number}"), range(8)))
    assert together == alone
    assert len(set(alone)) > 4


def test_a_conversations_next_turn_is_read_only_where_it_is_new(engine: EngineProcess) -> None:
    question = "the capital of France is Paris " * 20
    first = ask(engine, question, "bob", "c1", temperature=0, max_tokens=8)
    turns = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": first["choices"][0]["message"]["content"]},
        {"role": "user", "content": "and of Italy"},
    ]
    with engine.client() as client:
        body = {"messages": turns, "temperature": 0, "max_tokens": 8}
        usages = {}
        for user, conversation in (("eve", "c1"), ("bob", "c2"), ("bob", "c1")):
            headers = {"X-Ferry-User": user, "X-Ferry-Conversation": conversation}
            reply = client.post(CHAT, json=body, headers=headers).json()
            usages[user, conversation] = reply["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert usages["bob", "c1"] >= first["usage"]["prompt_tokens"] - 1
    assert (usages["eve", "c1"], usages["bob", "c2"]) == (0, 0)


def test_a_client_that_leaves_frees_its_slot_for_who_waits(engine: EngineProcess) -> None:
    # A random model rarely stops by itself: these go on until they are left.
    body = chat("the capital of France", stream=True)
    with (
        ThreadPoolExecutor(1) as pool,
        engine.client() as one,
        engine.client() as two,
        one.stream("POST", CHAT, json=body) as first,
        two.stream("POST", CHAT, json=body) as second,
    ):
        answers = [events(response.iter_lines()) for response in (first, second)]
        assert all("choices" in next(answer) for answer in answers)
        waiting = pool.submit(ask, engine, "the capital", max_tokens=2)
        engine.wait_for_load(running=2, waiting=1)
        first.close()
        assert waiting.result(30)["usage"]["completion_tokens"] == 2
        assert engine.health()[1]["running"] == 1
    engine.wait_for_load(running=0, waiting=0)


def test_64_clients_at_once_stream_to_their_end_or_are_refused(engine: EngineProcess) -> None:
    start = threading.Barrier(64)

    def stream(number: int) -> tuple[int, list[Any]]:
        body = chat(QUESTIONS[number % 8], stream=True, max_tokens=8)
        with engine.client() as client:
            start.wait(60)
            headers = {"X-Ferry-User": f"user{number % 8}"}
            with client.stream("POST", CHAT, json=body, headers=headers) as response:
                lines = list(response.iter_lines())
                return response.status_code, list(events(lines)) if response.status_code == 200 else lines

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(stream, range(64)))
    assert {status for status, _ in answers} <= {200, 429}
    served = [found for status, found in answers if status == 200]
    assert len(served) >= 16 and all(found[-1] == "[DONE]" for found in served)
    assert all(json.loads(found[0])["error"]["code"] == "queue_full" for status, found in answers if status == 429)


def test_metrics_tell_of_caches_waits_and_cancels(engine: EngineProcess) -> None:
    ask(engine, "the capital of France", max_tokens=3)
    with engine.client() as client:
        text = client.get("/metrics").text
    for name in ("time_to_first_token", "inter_token_latency", "request_queue_time", "e2e_request_latency"):
        assert f'vllm:{name}_seconds_bucket{{model_name="tiny",le="+Inf"}}' in text
        assert engine.counter(f"{name}_seconds_count") > 0
    assert engine.counter("prefix_cache_queries_total") > engine.counter("prefix_cache_hits_total")
    assert 'vllm:kv_cache_usage_perc{model_name="tiny"} ' in text
    assert 'finished_reason="length"' in text
