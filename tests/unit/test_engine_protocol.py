"""OpenAI's requests: what is understood, and what is refused with which parameter's name."""

import json
from typing import Any

import pytest

from service.engine.errors import RequestError
from service.engine.grammar import GrammarSpec
from service.engine.protocol import Message, Options, ToolCall, parse_chat
from service.engine.sampling import Sampling

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> bytes:
    return json.dumps({"messages": HELLO, **fields}).encode()


def tool(**function: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"word": {"type": "string"}}}
    return {"type": "function", "function": {"name": "look_up", "parameters": parameters, **function}}


def named(name: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def schema_format(**fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, **fields}}


CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "sea"}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
NAMED = "messages[0].tool_calls[0].function.name"


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
            min_p=0.1,
            repetition_penalty=1.1,
            presence_penalty=0.5,
            frequency_penalty=-2,
            logit_bias={"3": -100, "40": 1.5},
            seed=7,
            max_tokens=9,
            stop="x",
            n=2,
            logprobs=True,
            top_logprobs=3,
            response_format={"type": "json_object"},
            stream=True,
            stream_options={"include_usage": True},
        )
    ).options
    assert options == Options(
        temperature=1.0,
        top_p=0.5,
        top_k=-1,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=-2.0,
        logit_bias={3: -100.0, 40: 1.5},
        seed=7,
        max_tokens=9,
        stop=("x",),
        n=2,
        top_logprobs=3,
        grammar=GrammarSpec("json_object", ""),
        stream=True,
        include_usage=True,
    )


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
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "tool_call_id": ["x"], "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": {}, "content": None}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [CALLING | {"tool_calls": [CALL | {"id": 1}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [CALLING | {"tool_calls": [CALL | {"function": {"name": "a b", "arguments": "{}"}}]}]}, NAMED),
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
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": "x"}, "min_p"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"frequency_penalty": True}, "frequency_penalty"),
        ({"logit_bias": []}, "logit_bias"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"1": None}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": True}, "n"),
        ({"n": "2"}, "n"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": ["text"]}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": schema_format(name="a b")}, "response_format.json_schema.name"),
        ({"response_format": schema_format(schema=None)}, "response_format.json_schema.schema"),
        ({"response_format": schema_format(schema=[])}, "response_format.json_schema.schema"),
        ({"response_format": schema_format(schema={"const": "\ud800"})}, "response_format.json_schema.schema"),
        ({"response_format": schema_format(strict=1)}, "response_format.json_schema.strict"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [tool(name="a b")]}, "tools[0].function.name"),
        ({"tools": [tool(name="x" * 65)]}, "tools[0].function.name"),
        ({"tools": [tool(), tool(description=5)]}, "tools[1].function.description"),
        ({"tools": [tool(parameters="{}")]}, "tools[0].function.parameters"),
        ({"tools": [tool(strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [tool()] * 129}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": 1}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": ""}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": named("other")}, "tool_choice.function.name"),
        ({"tools": [tool()], "tool_choice": named(["look_up"])}, "tool_choice.function.name"),
        ({"tools": [tool()], "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tools": [tool()], "response_format": {"type": "json_object"}}, "response_format"),
        ({"functions": [{"name": "x"}]}, "functions"),
        ({"function_call": {"name": "x"}}, "function_call"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": True}}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"enable_thinking": "no"}}, "chat_template_kwargs"),
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
        {"best_of": 2},
        {"best_of": True},
        {"echo": True},
        {"echo": 0},
        {"suffix": "end"},
        {"functions": [{"name": "x"}]},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy"}},
        {"min_tokens": 3},
        {"ignore_eos": True},
        {"guided_json": {"type": "object"}},
    ],
)
def test_what_this_engine_does_not_have_is_refused_instead_of_ignored(fields: dict[str, Any]) -> None:
    assert refusal(chat(**fields)).code == "unsupported_parameter"


def test_parameters_that_ask_for_nothing_are_passed_over() -> None:
    fields = {"n": 1, "tools": [], "tool_choice": "auto", "response_format": {"type": "text"}, "user": "me"}
    fields |= {"logprobs": False, "top_logprobs": 0, "logit_bias": {}, "echo": False, "best_of": 1, "metadata": {}}
    assert parse_chat(chat(**fields)) == parse_chat(chat())


def test_a_schema_becomes_a_grammar() -> None:
    grammar = parse_chat(chat(response_format=schema_format())).options.grammar
    assert grammar and (grammar.kind, json.loads(grammar.text)) == ("json_schema", {"type": "object"})


def test_logprobs_without_a_number_are_those_of_the_chosen_tokens() -> None:
    assert parse_chat(chat(logprobs=True)).options.top_logprobs == 0


def test_a_conversation_with_calls_and_results_is_read() -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "12"}]}
    messages = [*HELLO, CALLING, result]
    assert parse_chat(json.dumps({"messages": messages}).encode()).messages == (
        Message("user", "hello"),
        Message("assistant", "", (ToolCall("c1", "look_up", '{"word": "sea"}'),)),
        Message("tool", "12"),
    )


def test_a_call_that_is_not_forced_leaves_the_model_free() -> None:
    request = parse_chat(chat(tools=[tool()]))
    assert [one.name for one in request.tool_use.tools] == ["look_up"]
    assert (request.tool_use.is_forced, request.options.grammar, request.options.stop) == (False, None, ())
    assert parse_chat(chat(tools=[tool()], tool_choice="none")).tool_use.tools == ()


def test_one_call_at_a_time_ends_the_answer_after_the_first() -> None:
    request = parse_chat(chat(tools=[tool()], parallel_tool_calls=False, stop="x"))
    assert request.options.stop == ("x", "</tool_call>")


def test_a_forced_call_has_to_be_one_of_the_tools_with_its_parameters() -> None:
    tools = [tool(), tool(name="other", parameters=None)]
    one = parse_chat(chat(tools=tools, tool_choice=named("look_up"))).options.grammar
    both = parse_chat(chat(tools=tools, tool_choice="required")).options.grammar
    assert one and both
    (first, second), (single,) = (json.loads(grammar.text)["anyOf"] for grammar in (both, one))
    assert single == first
    assert single["properties"] == {"name": {"const": "look_up"}, "arguments": tool()["function"]["parameters"]}
    assert single["required"] == ["name", "arguments"]
    assert second["properties"]["name"] == {"const": "other"}


def test_switches_of_the_template_are_handed_on() -> None:
    request = parse_chat(chat(chat_template_kwargs={"enable_thinking": False}))
    assert request.template_flags == (("enable_thinking", False),)


def test_a_silent_request_is_greedy_unless_the_makers_sample() -> None:
    assert Sampling.of(Options(), {}) == Sampling()
    makers = {"do_sample": True, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.1, "temperature": 0.7}
    assert Sampling.of(Options(), makers) == Sampling(0.7, 0.8, 20, repetition_penalty=1.1)
    silenced = Options(temperature=0, top_p=1, top_k=-1)
    assert Sampling.of(silenced, makers) == Sampling(0, 1, 0, repetition_penalty=1.1)
    assert Sampling.of(Options(), {"do_sample": True}).temperature == 1.0
