"""Bad input: each parameter, each wrong type, and bodies that are none. What is refused names the parameter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_target import CHAT, COMPLETION, Target, error_of

BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETION], ids=["chat", "completion"])
USER = {"role": "user", "content": "hello"}
WRONG: list[tuple[str, Any]] = [
    *(("temperature", value) for value in (-1, 2.5, "hot", True, [], {})),
    *(("top_p", value) for value in (-0.1, 1.1, "all", [])),
    *(("n", value) for value in (0, -1, 1.5, "2", 100_000)),
    *(("max_tokens", value) for value in (-1, 0, 1.5, "9", [])),
    *(("max_completion_tokens", value) for value in (-1, "9")),
    *(("presence_penalty", value) for value in (-3, 3, "x")),
    *(("frequency_penalty", value) for value in (-3, 3, "x")),
    *(("logit_bias", value) for value in ([], "x", {"a": 1}, {"1": "x"}, {"1": 101}, {"99999999": 1})),
    *(("seed", value) for value in ("x", 1.5, [])),
    *(("stop", value) for value in (1, {}, [1], ["a"] * 100)),
    *(("stream", value) for value in ("yes", 1)),
    *(("stream_options", value) for value in ("x", {"include_usage": True})),
    *(("logprobs", value) for value in ("yes", 3)),
    *(("top_logprobs", value) for value in (-1, 21, "x", 2)),
    *(("response_format", value) for value in ("json", {"type": "yaml"}, {"type": "json_schema"}, [])),
    *(("messages", value) for value in ([], "hello", None, [1], [[]], {"role": "user"})),
    ("messages", [{"role": "user"}]),
    ("messages", [{"content": "x"}]),
    ("messages", [{"role": "wizard", "content": "x"}]),
    ("messages", [{"role": "user", "content": 5}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]),
    ("messages", [{"role": "user", "content": [{"type": "nothing"}]}]),
    ("model", 5),
]
WRONG_PLAIN: list[tuple[str, Any]] = [
    *(("prompt", value) for value in (None, 5, {}, [], [[]], ["a", 1], [-1], [99_999_999])),
    *(("logprobs", value) for value in (-1, 6, "x")),
    ("suffix", "the end"),
    ("best_of", 0),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: json.dumps(value)[:40])
def test_a_wrong_value_is_refused_by_its_name(target: Target, name: str, value: Any) -> None:
    assert str(target.refusal(400, **{name: value})["param"]).startswith(name)


@pytest.mark.parametrize(("name", "value"), WRONG_PLAIN, ids=lambda value: json.dumps(value)[:40])
def test_a_completions_wrong_value_is_refused_by_its_name(target: Target, name: str, value: Any) -> None:
    assert str(target.refusal(400, COMPLETION, **{name: value})["param"]).startswith(name)


@BOTH
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b"null", b'"text"', b"\xff\xfe{}", b"{} {}", b"[" * 20_000, b'{"temperature": NaN}'],
    ids=["empty", "open", "list", "number", "null", "text", "not UTF-8", "two", "deep", "NaN"],
)
def test_a_body_that_is_no_request_is_refused(target: Target, content: bytes, path: str) -> None:
    error_of(target.send(content, path), 400)


def test_a_body_beyond_all_measure_is_refused(target: Target) -> None:
    body = target.body(messages=[{"role": "user", "content": "x" * (8 << 20)}])
    response = target.ask(body)
    error_of(response, response.status_code)
    assert response.status_code in (400, 413)


def test_a_prompt_longer_than_the_context_is_refused_with_its_code(target: Target) -> None:
    error = target.refusal(400, messages=[{"role": "user", "content": "far too long " * 6000}])
    assert error["code"] == "context_length_exceeded"
    assert sum(word.strip(".,():").isdigit() for word in error["message"].split()) >= 2


@pytest.mark.parametrize(
    "text", ["Grüße, 你好 🎉", "\u202eright to left\u202c", "a\0b", "e\u0301" * 20, "\u2028\u2029"]
)
def test_any_unicode_may_be_asked(target: Target, text: str) -> None:
    for sent in (json.dumps, lambda body: json.dumps(body, ensure_ascii=False)):
        body = target.body(messages=[{"role": "user", "content": text}], max_tokens=2)
        assert target.send(sent(body).encode()).status_code == 200


@pytest.mark.parametrize("where", ["content", "stop"])
def test_half_of_a_surrogate_pair_is_the_clients_mistake(target: Target, where: str) -> None:
    options = {"stop": "\ud800"} if where == "stop" else {"messages": [{"role": "user", "content": "\ud800"}]}
    target.refusal(400, **options)


def test_null_is_silence(target: Target) -> None:
    names = ("top_p", "seed", "stop", "stream", "stream_options", "n", "logit_bias", "tools", "response_format", "user")
    assert target.text(**dict.fromkeys(names)) == target.text()


def test_a_content_in_parts_is_their_text(target: Target) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    whole = [{"role": "user", "content": "What is this?"}]
    assert target.text(messages=[{"role": "user", "content": parts}]) == target.text(messages=whole)


def test_a_developers_message_is_a_systems(target: Target) -> None:
    def answer(role: str) -> str:
        return target.text(messages=[{"role": role, "content": "Be brief."}, USER])

    assert answer("developer") == answer("system")


def test_a_control_token_in_a_message_stays_text(target: Target) -> None:
    def size(text: str) -> int:
        messages = [{"role": "user", "content": text}]
        return int(target.answer(messages=messages, max_tokens=1)["usage"]["prompt_tokens"])

    # Spelled as text it takes several tokens, as a control token one.
    assert size("x<|im_end|>x") - size("xx") > 1


def test_names_that_nobody_knows_are_passed_over(target: Target) -> None:
    assert target.text(user="me", metadata={"a": "b"}, service_tier="auto", store=False) == target.text()
