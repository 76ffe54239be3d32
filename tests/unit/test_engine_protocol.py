"""OpenAI's requests and replies: what is understood, and what is refused with which parameter's name."""

import json
from typing import Any

import pytest

from service.engine.errors import RequestError
from service.engine.protocol import Message, Options, parse_chat, parse_completion
from service.engine.replies import Reply, Usage, event
from service.engine.sampling import Sampling

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> bytes:
    return json.dumps({"messages": HELLO, **fields}).encode()


def refusal(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_chat(body)
    assert caught.value.status == 400
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    return caught.value


def test_a_silent_request_leaves_everything_to_the_model() -> None:
    request = parse_chat(chat())
    assert request.model == "default"
    assert request.messages == (Message("user", "hello"),)
    assert request.options == Options()


def test_every_option_is_read() -> None:
    options = parse_chat(
        chat(
            temperature=1,
            top_p=0.5,
            top_k=-1,
            repetition_penalty=1.1,
            seed=7,
            max_tokens=9,
            stop="x",
            stream=True,
            stream_options={"include_usage": True},
        )
    ).options
    assert options == Options(1.0, 0.5, -1, 1.1, 7, 9, ("x",), True, True)


def test_the_newer_name_of_max_tokens_wins() -> None:
    assert parse_chat(chat(max_tokens=5, max_completion_tokens=3)).options.max_tokens == 3


def test_null_is_the_same_as_silence() -> None:
    names = ("temperature", "top_p", "seed", "stop", "stream", "max_tokens", "stream_options", "tools", "n", "model")
    assert parse_chat(chat(**dict.fromkeys(names))) == parse_chat(chat())


def test_text_parts_are_joined_and_developer_means_system() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse_chat(json.dumps({"messages": [{"role": "developer", "content": parts}]}).encode())
    assert request.messages == (Message("system", "ab"),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"messages": NaN}',
        b"[" * 100_000,
        b'{"messages": [{"role": "user", "content": "x"}], "seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content"),
        ({"model": 1}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": 1e999}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_k": -2}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": 1}, "stop"),
        ({"stop": ["a", 1]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "include_usage"),
    ],
)
def test_a_parameter_out_of_its_range_is_named(fields: dict[str, Any], param: str) -> None:
    text = json.dumps({"messages": HELLO, **fields}).replace("Infinity", "1e999")
    error = refusal(text.encode())
    assert error.param == param
    assert error.message.startswith(param)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"logit_bias": {"1": 5}},
        {"presence_penalty": 0.5},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
    ],
)
def test_what_this_engine_does_not_have_is_refused_instead_of_ignored(fields: dict[str, Any]) -> None:
    assert refusal(chat(**fields)).code == "unsupported_parameter"


def test_parameters_that_ask_for_nothing_are_passed_over() -> None:
    fields = {"n": 1, "tools": [], "presence_penalty": 0.0, "response_format": {"type": "text"}, "user": "me"}
    assert parse_chat(chat(**fields)) == parse_chat(chat())


@pytest.mark.parametrize("prompt", ["", None, [], ["a", "b"], [1, 2], 5])
def test_a_completion_takes_one_text(prompt: object) -> None:
    assert parse_completion(b'{"prompt": ["once"]}').prompt == "once"
    with pytest.raises(RequestError) as caught:
        parse_completion(json.dumps({"prompt": prompt}).encode())
    assert caught.value.param == "prompt"


def test_a_silent_request_is_greedy_unless_the_makers_sample() -> None:
    assert Sampling.of(Options(), {}) == Sampling()
    makers = {"do_sample": True, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1, "temperature": 0.7}
    assert Sampling.of(Options(), makers) == Sampling(0.7, 0.8, 20, repetition_penalty=1.1)
    silenced = Options(temperature=0, top_p=1, top_k=-1)
    assert Sampling.of(silenced, makers) == Sampling(0, 1, 0, repetition_penalty=1.1)
    assert Sampling.of(Options(), {"do_sample": True}).temperature == 1.0


def test_a_chat_reply_has_openais_shape() -> None:
    reply = Reply("name", is_chat=True, identity="1", created=5)
    assert reply.whole("text", "stop", Usage(3, 4)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "name",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "text", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }


def test_chunks_carry_a_null_usage_only_where_the_counts_were_asked_for() -> None:
    assert "usage" not in Reply("name", is_chat=True).piece("x")
    assert Reply("name", is_chat=True, include_usage=True).piece("x")["usage"] is None


def test_a_plain_completion_has_no_role() -> None:
    reply = Reply("name", is_chat=False)
    assert reply.first() is None
    assert reply.piece("x")["choices"][0]["text"] == "x"


def test_a_line_end_in_the_text_does_not_end_the_event() -> None:
    framed = event({"text": "a\n\nb\u2028"})
    assert framed.count(b"\n") == 2
    assert framed.endswith(b"\n\n")


def test_the_end_mark_is_framed_as_it_is() -> None:
    assert event("[DONE]") == b"data: [DONE]\n\n"
