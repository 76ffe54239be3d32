"""What is counted of whom, what a quota refuses, and what a client sees of the counting."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import foreign_server
import pytest
from foreign_server import CHAT, piece, stream
from sqlalchemy import select
from web_app import WebApp, web_app

from service.web import accounts, keys, usage
from service.web.errors import Refusal
from service.web.meter import Meter, asking
from service.web.models import ApiKey
from service.web.models import Usage as Row
from service.web.usage import DAY_S, Usage, Used

EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "a \\"usage\\": {} b"}}], "usage": null}\n\n'
COUNTED = b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}\n\n'
ENDED = (
    b'data: {"choices": [{"finish_reason": "stop"}], "timings": {"prompt_n": 2, "cache_n": 7, "predicted_n": 5}}\n\n'
)


@dataclass(frozen=True)
class Somebody:
    user_id: int | None = None
    key_id: int | None = None


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory):
    with web_app(tmp_path_factory.mktemp("usage")) as made:
        yield made


def today() -> int:
    return usage.day_of(time.time())


def used(web: WebApp, subject: str) -> Used:
    with web.database.begin() as session:
        return usage.summary(session, today(), [subject]).get(subject, Used())


def completion(web: WebApp, key: str, question: str = "hello", **fields: object):
    body = {"model": "default", "messages": [{"role": "user", "content": question}], **fields}
    headers = {"Authorization": f"Bearer {key}"}
    return web.app.test_client().post("/v1/chat/completions", json=body, headers=headers, buffered=True)


def key_of(web: WebApp, name: str, user: str = "", tokens_per_day: int | None = None) -> tuple[str, int]:
    secret = web.add_key(name, user)
    with web.database.begin() as session:
        row = session.scalars(select(ApiKey).where(ApiKey.name == name)).one()
        row.tokens_per_day = tokens_per_day
        return secret, row.id


def add_user(web: WebApp, name: str, tokens_per_day: int | None = None) -> int:
    web.add_user(name)
    with web.database.begin() as session:
        user = accounts.get_user(session, name)
        user.tokens_per_day = tokens_per_day
        return user.id


@pytest.mark.parametrize(("stream", "tokens"), [(False, 2), (True, 120)])
def test_a_completion_is_counted_as_the_engine_counts_it(web: WebApp, stream: bool, tokens: int) -> None:
    key, key_id = key_of(web, f"counted {stream}")
    assert completion(web, key, stream=stream).status_code == 200
    assert used(web, f"key-{key_id}") == Used(1, tokens, 1, tokens)


def test_a_users_key_counts_for_both(web: WebApp) -> None:
    user_id = add_user(web, "olga")
    key, key_id = key_of(web, "olga's", "olga")
    for _ in range(2):
        completion(web, key)
    assert used(web, f"key-{key_id}") == used(web, f"user-{user_id}") == Used(2, 4, 2, 4)
    with web.database.begin() as session:
        before = usage.daily(session, today())[-1]
    completion(web, key)
    with web.database.begin() as session:
        after = usage.daily(session, today())[-1]
    assert (after[1] - before[1], after[2] - before[2]) == (1, 2)


def test_an_answer_on_the_page_is_counted_and_refused_beyond_the_quota(web: WebApp) -> None:
    user_id = add_user(web, "chatty", 120)
    chatty = web.login("chatty")
    conversation_id = chatty.new_conversation("hello")
    deadline = time.monotonic() + 10
    while not used(web, f"user-{user_id}").requests:  # counted by the thread that made the answer, after its end
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert used(web, f"user-{user_id}") == Used(1, 120, 1, 120)
    assert "Tokens: 120, requests: 1" in chatty.client.get("/account").text
    answer = chatty.request("POST", f"/api/conversations/{conversation_id}/messages", json={"content": "more"})
    assert (answer.status_code, answer.json["error"]["code"]) == (429, "insufficient_quota")
    assert int(answer.headers["Retry-After"]) > 0 and used(web, f"user-{user_id}").requests == 1


@pytest.mark.parametrize("whose", ["key", "user"])
def test_beyond_the_quota_a_request_is_refused_in_openais_words_until_the_day_ends(web: WebApp, whose: str) -> None:
    add_user(web, f"limited by {whose}", 2 if whose == "user" else None)
    key, _ = key_of(web, f"limited by {whose}", f"limited by {whose}", 2 if whose == "key" else None)
    asked = len(web.engine.requests)
    assert completion(web, key).status_code == 200
    answer = completion(web, key)
    assert answer.status_code == 429
    assert answer.json["error"]["code"] == "insufficient_quota" and "2 of 2" in answer.json["error"]["message"]
    assert 0 < int(answer.headers["Retry-After"]) <= DAY_S
    assert len(web.engine.requests) == asked + 1


def test_a_new_key_has_used_nothing_whatever_number_it_gets(web: WebApp) -> None:
    secret, number = key_of(web, "selftest-1")
    completion(web, secret)
    with web.database.begin() as session:
        keys.remove_key(session, "selftest-1")
    _, number = key_of(web, "the next")
    assert used(web, f"key-{number}") == Used()


def test_the_default_holds_for_who_has_no_quota_and_zero_is_none(web: WebApp) -> None:
    counter = Usage(web.database, lambda: 10)
    free, limited, owner = add_user(web, "free", 0), add_user(web, "limited", 20), add_user(web, "owner")
    _, nobodys = key_of(web, "nobody's")
    _, owned = key_of(web, "owned", "owner")
    for who in (Somebody(free), Somebody(limited), Somebody(None, nobodys), Somebody(owner, owned)):
        counter.charge(who, 15)
    counter.check(Somebody(free))
    counter.check(Somebody(limited))
    for who in (Somebody(None, nobodys), Somebody(owner, owned), Somebody(owner)):
        with pytest.raises(Refusal, match="15 of 10"):
            counter.check(who)


def test_a_new_day_begins_at_midnight_utc(web: WebApp) -> None:
    now = [today() * DAY_S - 1.0]
    counter, who = Usage(web.database, lambda: 10, lambda: now[0]), Somebody(add_user(web, "late"))
    counter.charge(who, 10)
    with pytest.raises(Refusal) as caught:
        counter.check(who)
    assert caught.value.retry_after == "1"
    now[0] += 1
    counter.check(who)
    assert used(web, f"user-{who.user_id}") == Used(0, 0, 1, 10)


def test_old_days_are_forgotten(web: WebApp) -> None:
    who = Somebody(add_user(web, "old"))
    long_ago = (today() - usage.KEEP_DAYS - 1) * float(DAY_S)
    Usage(web.database, lambda: 0, lambda: long_ago).charge(who, 1)
    Usage(web.database, lambda: 0).charge(who, 1)
    with web.database.begin() as session:
        days = list(session.scalars(select(Row.day).where(Row.subject == f"user-{who.user_id}")))
    assert days == [today()]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data: [DONE]"])
def test_the_count_that_only_we_asked_for_is_taken_out_of_a_stream(size: int, end: bytes) -> None:
    sent = b": waiting {}\n\n" + EVENT + COUNTED + end
    meter = Meter(1000, is_asked=True)
    got = b"".join(meter.feed(sent[start : start + size]) for start in range(0, len(sent), size)) + meter.close()
    assert got == b": waiting {}\n\n" + EVENT + end
    assert (meter.prompt_tokens, meter.answer_tokens) == (9, 5)


@pytest.mark.parametrize("last", [COUNTED, ENDED])
def test_a_stream_that_nobody_asked_for_more_is_handed_on_byte_for_byte(last: bytes) -> None:
    meter = Meter(1000)
    assert meter.feed(EVENT + last) == EVENT + last and meter.close() == b""
    assert meter.tokens == 14


def test_an_answer_that_breaks_off_is_counted_by_its_events_and_the_length_of_its_question() -> None:
    meter = Meter(400)
    meter.feed(EVENT * 3)
    assert (meter.prompt_tokens, meter.answer_tokens) == (100, 3)


def test_another_server_is_asked_for_its_count_only_where_the_client_did_not() -> None:
    assert asking({"stream": True}) == {"stream": True, "stream_options": {"include_usage": True}}
    assert asking({"stream": True, "stream_options": {"x": 1}})["stream_options"] == {"x": 1, "include_usage": True}
    for body in ({}, {"stream": "yes"}, {"stream": True, "stream_options": {"include_usage": True}}):
        assert asking(body) is None
    assert asking({"stream": True, "stream_options": "wrong"}) is None


def test_an_error_in_a_stream_is_never_taken_out() -> None:
    event = b"data: " + json.dumps({"error": {"message": "no"}, "usage": {"prompt_tokens": 1}}).encode() + b"\n\n"
    assert Meter(0, is_asked=True).feed(event) == event


@pytest.mark.parametrize("asked", [False, True])
def test_another_servers_count_is_taken_and_seen_by_those_alone_who_asked(tmp_path: Path, asked: bool) -> None:
    counts = {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 11}}
    with foreign_server.running() as foreign:
        foreign.replies |= {CHAT: stream(piece("Hello"), piece(" you", "stop"), counts, "data: [DONE]\n\n")}
        with web_app(tmp_path, f'[engine]\nurl = "{foreign.url}"\n') as web:
            key, key_id = key_of(web, "script")
            options = {"stream_options": {"include_usage": True}} if asked else {}
            answer = completion(web, key, stream=True, **options)
            assert used(web, f"key-{key_id}").tokens == 61
    assert answer.text.count("data: ") == (4 if asked else 3) and ('"usage"' in answer.text) is asked
    assert answer.text.endswith('"finish_reason": "stop", "token_ids": null}]}\n\ndata: [DONE]\n\n') is not asked
    assert foreign.requests[-1]["stream_options"] == {"include_usage": True}
