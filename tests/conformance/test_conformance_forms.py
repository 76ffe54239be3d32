"""Answers of a given form: JSON, JSON by a schema, and calls of tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_target import QUESTION, TOOL, Target, choices_of, joined, reason_of, text_of

# Whatever a model would like to say, this is soon over.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Paris", "Rome", "Oslo"]},
        "is_capital": {"type": "boolean"},
        "rank": {"enum": [1, 2, 3]},
    },
    "required": ["city", "is_capital", "rank"],
    "additionalProperties": False,
}
# Between the parts of a JSON text there may be any white space: a random model would write it on and on.
SOON: dict[str, Any] = {"max_tokens": 200, "frequency_penalty": 2}
FORM = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
FORCED: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required", **SOON}
NAMED: dict[str, Any] = {**FORCED, "tool_choice": {"type": "function", "function": {"name": "set_light"}}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "set_light", "arguments": '{"on": true, "room": "hall"}'},
}
ASKED = {"role": "user", "content": "Switch the light in the hall on."}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "done"}


def check_city(text: str) -> None:
    found = json.loads(text)
    assert list(found) == ["city", "is_capital", "rank"]
    assert found["city"] in SCHEMA["properties"]["city"]["enum"] and found["rank"] in (1, 2, 3)
    assert isinstance(found["is_capital"], bool)


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_keeps_to_its_schema(target: Target, temperature: float) -> None:
    choice = target.answer(response_format=FORM, temperature=temperature, **SOON)["choices"][0]
    assert choice["finish_reason"] == "stop"
    check_city(text_of(choice))


def test_a_stream_keeps_to_its_schema(target: Target) -> None:
    chunks = target.chunks(response_format=FORM, **SOON)
    assert reason_of(chunks) == "stop"
    check_city(joined(chunks))


def test_several_choices_keep_to_the_schema_each(target: Target) -> None:
    for choice in target.answer(response_format=FORM, n=2, temperature=1.5, **SOON)["choices"]:
        check_city(text_of(choice))


def test_json_object_gives_the_beginning_of_an_object_at_least(target: Target) -> None:
    messages = [{"role": "user", "content": "Give me a JSON object with a city."}]
    choice = target.answer(messages=messages, response_format={"type": "json_object"}, max_tokens=40)["choices"][0]
    assert text_of(choice).lstrip().startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(text_of(choice)), dict)


def test_text_is_a_form_too(target: Target) -> None:
    assert target.text(response_format={"type": "text"}) == target.text()


def test_a_schema_that_is_none_is_refused(target: Target) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    assert "response_format" in str(target.refusal(400, response_format=form)["param"])


def check_call(call: dict[str, Any]) -> None:
    assert call["type"] == "function" and call["id"] and call["function"]["name"] == "set_light"
    arguments = json.loads(call["function"]["arguments"])
    assert set(arguments) == {"on", "room"}
    assert isinstance(arguments["on"], bool) and arguments["room"] in ("kitchen", "hall")


@pytest.mark.parametrize("options", [FORCED, NAMED], ids=["required", "named"])
def test_a_forced_call_is_a_call_with_its_parameters(target: Target, options: dict[str, Any]) -> None:
    (choice,) = target.answer(**options)["choices"]
    assert choice["finish_reason"] == "tool_calls" and not choice["message"]["content"]
    (call,) = choice["message"]["tool_calls"]
    check_call(call)


def test_a_forced_call_is_streamed_in_deltas(target: Target) -> None:
    chunks = target.chunks(**FORCED)
    deltas = [delta for choice in choices_of(chunks) for delta in choice["delta"].get("tool_calls", ())]
    assert {delta["index"] for delta in deltas} == {0}
    name = "".join(delta["function"].get("name") or "" for delta in deltas)
    arguments = "".join(delta["function"].get("arguments") or "" for delta in deltas)
    check_call({**deltas[0], "function": {"name": name, "arguments": arguments}})
    assert (reason_of(chunks), joined(chunks)) == ("tool_calls", "")


def test_a_call_and_its_result_may_be_continued(target: Target) -> None:
    answer = target.answer(messages=[ASKED, CALLING, RESULT], tools=[TOOL])
    assert answer["choices"][0]["message"]["role"] == "assistant"


def test_tools_make_the_prompt_longer_unless_they_are_not_to_be_used(target: Target) -> None:
    plain = target.answer()["usage"]["prompt_tokens"]
    assert target.answer(tools=[TOOL])["usage"]["prompt_tokens"] > plain
    answer = target.answer(tools=[TOOL], tool_choice="none")
    assert not answer["choices"][0]["message"].get("tool_calls")


def test_a_model_need_not_call_a_tool(target: Target) -> None:
    choice = target.answer(tools=[TOOL], tool_choice="auto", messages=[{"role": "user", "content": QUESTION}])[
        "choices"
    ][0]
    assert choice["message"].get("tool_calls") or isinstance(choice["message"]["content"], str)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"tools": [{"type": "function", "function": {}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": "all"}, "tools"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"messages": [ASKED, RESULT]}, "messages"),
        ({"messages": [ASKED, {**CALLING, "tool_calls": [{"id": 1}]}]}, "messages"),
        ({"functions": [TOOL["function"]]}, "functions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tools_that_are_none_are_refused(target: Target, options: dict[str, Any], param: str) -> None:
    assert str(target.refusal(400, **options)["param"]).startswith(param)
