"""OpenAI's replies: the shapes of bodies and chunks, and what is told of calls and of logprobs."""

import json
from typing import Any

import pytest

from service.engine.choices import Choices
from service.engine.delivery import Frames
from service.engine.jobs import Ended, Event, Finished, Piece, Started, Timings, TokenLogprob, Usage, Waiting
from service.engine.messages import NO_TOOLS, Tool, ToolUse
from service.engine.replies import Reply, event

FINISHED = Finished(Usage(3, 4, 2), Timings(2, 1, 0.5, 4, 2.0))
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 2},
}
TIMINGS = {
    "cache_n": 2,
    "prompt_n": 1,
    "prompt_ms": 500.0,
    "prompt_per_token_ms": 500.0,
    "prompt_per_second": 2.0,
    "predicted_n": 4,
    "predicted_ms": 2000.0,
    "predicted_per_token_ms": 500.0,
    "predicted_per_second": 2.0,
}
TOOLS = ToolUse((Tool("look_up", {"type": "function", "function": {"name": "look_up"}}),))
CALL = '<tool_call>\n{"name": "look_up", "arguments": {"word": "Straße"}}\n</tool_call>'


def reply(is_chat: bool = True, include_usage: bool = False, has_tools: bool = False) -> Reply:
    return Reply("name", is_chat, include_usage, has_tools, "fp_1", identity="1", created=5)


def whole(shape: Reply, events: list[Event], count: int = 1, tools: ToolUse = NO_TOOLS) -> dict[str, Any]:
    choices = Choices(count, tools)
    for item in events:
        list(choices.note(item))
    return shape.whole(choices.all, FINISHED)


def streamed(shape: Reply, events: list[Event], count: int = 1, tools: ToolUse = NO_TOOLS) -> list[Any]:
    """The chunks of a stream; a comment stays the text that it is."""
    frames = Frames(shape, Choices(count, tools))
    lines = [line.decode() for item in [*events, FINISHED] for line in frames.of(item)]
    return [json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else line for line in lines]


def choices(chunks: list[Any]) -> list[Any]:
    return [chunk["choices"][0] for chunk in chunks]


def test_a_chat_reply_has_openais_shape() -> None:
    assert whole(reply(), [Started(), Piece(0, "te"), Piece(0, "xt"), Ended(0, "stop")]) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "name",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "text", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "timings": TIMINGS,
    }


def test_a_plain_completion_has_a_text_and_no_role() -> None:
    body = whole(reply(is_chat=False), [Piece(0, "x"), Ended(0, "length")])
    assert (body["id"], body["object"]) == ("cmpl-1", "text_completion")
    assert body["choices"] == [{"index": 0, "text": "x", "logprobs": None, "finish_reason": "length"}]
    chunks = streamed(reply(is_chat=False), [Started(), Piece(0, "x"), Ended(0, "length")])
    assert [chunk["text"] for chunk in choices(chunks)] == ["x", ""]


def test_a_stream_opens_with_the_role_and_ends_with_the_reason_and_the_timings() -> None:
    chunks = streamed(reply(), [Started(), Piece(0, "a"), Piece(0, "b"), Ended(0, "stop")])
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [{"role": "assistant", "content": ""}, {"content": "a"}, {"content": "b"}, {}]
    assert [choice["delta"] for choice in choices(chunks)] == deltas
    assert [choice["finish_reason"] for choice in choices(chunks)] == [None, None, None, "stop"]
    assert ["timings" in chunk for chunk in chunks] == [False, False, False, True]
    assert not any("usage" in chunk for chunk in chunks)


def test_asked_for_usage_the_last_chunk_has_it_and_the_others_have_null() -> None:
    *chunks, last = streamed(reply(include_usage=True), [Started(), Piece(0, "a"), Ended(0, "stop")])
    assert [chunk["usage"] for chunk in chunks] == [None] * 3
    assert (last["choices"], last["usage"], last["timings"]) == ([], USAGE, TIMINGS)


def test_several_answers_are_told_apart_and_each_ends_for_itself() -> None:
    events = [Started(), Piece(1, "b"), Piece(0, "a"), Ended(1, "length"), Piece(0, "A"), Ended(0, "stop")]
    body = whole(reply(), events, 2)
    told = [(one["index"], one["message"]["content"], one["finish_reason"]) for one in body["choices"]]
    assert told == [(0, "aA", "stop"), (1, "b", "length")]
    chunks = streamed(reply(), events, 2)
    assert [one["index"] for one in choices(chunks) if one["delta"].get("role")] == [0, 1]
    assert {one["index"]: one["finish_reason"] for one in choices(chunks) if one["finish_reason"]} == {
        0: "stop",
        1: "length",
    }
    assert "timings" in chunks[-1] and "timings" not in chunks[-2]


def test_who_waits_is_told_so_in_comments_before_the_role() -> None:
    lines = streamed(reply(), [Waiting(2, 12.4), Waiting(1, 5.0), Started(), Ended(0, "stop")])
    assert lines[:2] == [': waiting {"position": 2, "wait_s": 12}\n\n', ': waiting {"position": 1, "wait_s": 5}\n\n']
    assert choices(lines[2:3])[0]["delta"]["role"] == "assistant"


def token(text: str, logprob: float, *others: tuple[str, float]) -> TokenLogprob:
    top = tuple(TokenLogprob(other, value, other.encode()) for other, value in others)
    return TokenLogprob(text, logprob, text.encode(), top)


def test_a_chats_logprobs_have_bytes_and_alternatives() -> None:
    body = whole(reply(), [Piece(0, "é", (token("é", -0.5, ("é", -0.5), ("e", float("-inf"))),)), Ended(0, "stop")])
    assert body["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -9999.0, "bytes": [101]},
                ],
            }
        ],
        "refusal": None,
    }


def test_a_completions_logprobs_are_lists_with_offsets_that_run_on_from_chunk_to_chunk() -> None:
    first = Piece(0, "ab", (token("a", -1.0, ("x", -0.5)), token("b", -2.0)))
    events: list[Event] = [Started(), first, Piece(0, "cd", (token("cd", -3.0),)), Ended(0, "stop")]
    expected = {
        "tokens": ["a", "b", "cd"],
        "token_logprobs": [-1.0, -2.0, -3.0],
        "top_logprobs": [{"x": -0.5, "a": -1.0}, {"b": -2.0}, {"cd": -3.0}],
        "text_offset": [0, 1, 2],
    }
    assert whole(reply(is_chat=False), events)["choices"][0]["logprobs"] == expected
    parts = [one["logprobs"] for one in choices(streamed(reply(is_chat=False), events))]
    assert parts[-1] is None
    assert {key: [item for part in parts[:-1] for item in part[key]] for key in expected} == expected


def test_a_call_is_told_whole_with_its_own_reason() -> None:
    body = whole(reply(has_tools=True), [Piece(0, f"Let me see.\n{CALL}"), Ended(0, "stop")], tools=TOOLS)
    (choice,) = body["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", "Let me see.")
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["id"][:5]) == ("function", "call_")
    assert call["function"] == {"name": "look_up", "arguments": '{"word": "Straße"}'}
    alone = whole(reply(has_tools=True), [Piece(0, CALL), Ended(0, "stop")], tools=TOOLS)
    assert alone["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_calls_are_streamed_as_numbered_deltas_however_the_text_is_cut(size: int) -> None:
    text = f"Wait.\n{CALL}\n{CALL}\n"
    pieces: list[Event] = [Piece(0, text[start : start + size]) for start in range(0, len(text), size)]
    chunks = streamed(reply(has_tools=True), [Started(), *pieces, Ended(0, "stop")], tools=TOOLS)
    deltas = [one["delta"] for one in choices(chunks)]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert "".join(delta.get("content") or "" for delta in deltas) == "Wait."
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [(call["index"], call["function"]["arguments"]) for call in calls] == [
        (0, '{"word": "Straße"}'),
        (1, '{"word": "Straße"}'),
    ]
    assert calls[0]["id"] != calls[1]["id"]
    assert choices(chunks)[-1]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>nonsense</tool_call>",
        '<tool_call>{"name": "other", "arguments": {}}</tool_call>',
        '<tool_call>{"name": ["look_up"], "arguments": {}}</tool_call>',
        '<tool_call>{"name": "look_up", "arguments": 5}</tool_call>',
        '<tool_call>{"name": "look_up", "arguments": {"a": NaN}}</tool_call>',
        '<tool_call>{"name": "look_up", "argum',
        "a < b and <tool_",
        "white space at the end \n",
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_call_after_all_is_text(text: str, size: int) -> None:
    pieces: list[Event] = [Piece(0, text[start : start + size]) for start in range(0, len(text), size)]
    (choice,) = whole(reply(has_tools=True), [*pieces, Ended(0, "length")], tools=TOOLS)["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, "length")
    assert "tool_calls" not in choice["message"]


def test_a_call_whose_closing_was_the_stop_text_is_one() -> None:
    (choice,) = whole(reply(), [Piece(0, CALL.removesuffix("</tool_call>")), Ended(0, "stop")], tools=TOOLS)["choices"]
    assert choice["finish_reason"] == "tool_calls"


def test_a_forced_call_has_no_opening_of_its_own() -> None:
    forced = ToolUse(TOOLS.tools, is_forced=True)
    events: list[Event] = [Piece(0, '{"name": "look_up", "arg'), Piece(0, 'uments": {}}'), Ended(0, "stop")]
    message = whole(reply(), events, tools=forced)["choices"][0]["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["look_up"]
    cut_short = whole(reply(), [events[0], Ended(0, "length")], tools=forced)["choices"][0]
    assert (cut_short["message"]["content"], cut_short["finish_reason"]) == ('{"name": "look_up", "arg', "length")


def test_arguments_with_half_of_a_surrogate_pair_can_be_sent() -> None:
    text = r'<tool_call>{"name": "look_up", "arguments": {"word": "\ud800"}}</tool_call>'
    body = whole(reply(), [Piece(0, text), Ended(0, "stop")], tools=TOOLS)
    assert event(body)
    arguments = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == r'{"word": "\ud800"}'


def test_logprobs_of_tokens_that_show_nothing_come_with_the_next_chunk() -> None:
    pieces: list[Event] = [Piece(0, part, (token(part, -1.0),)) for part in ("<tool", "_call>x", "y")]
    chunks = streamed(reply(), [Started(), *pieces, Ended(0, "length")], tools=TOOLS)
    told = [one["logprobs"] and [item["token"] for item in one["logprobs"]["content"]] for one in choices(chunks)]
    assert told == [None, ["<tool", "_call>x", "y"], None]


def test_a_line_end_in_the_text_does_not_end_the_event() -> None:
    framed = event({"text": "a\n\nb\u2028"})
    assert framed.count(b"\n") == 2
    assert framed.endswith(b"\n\n")


def test_the_end_mark_is_framed_as_it_is() -> None:
    assert event("[DONE]") == b"data: [DONE]\n\n"
