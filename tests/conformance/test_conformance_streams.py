"""Answers and streams: their shapes, their counts, their ends, several at once, and how likely their tokens were."""

from __future__ import annotations

import math
from typing import Any

import pytest
from conformance_target import CHAT, COMPLETION, Target, choices_of, joined, reason_of, text_of

BOTH = pytest.mark.parametrize("path", [CHAT, COMPLETION], ids=["chat", "completion"])
COUNTED: dict[str, Any] = {"stream_options": {"include_usage": True}}


@BOTH
def test_a_whole_answer_has_every_field(target: Target, path: str) -> None:
    answer = target.answer(path)
    assert answer["object"] == ("chat.completion" if path == CHAT else "text_completion")
    assert isinstance(answer["id"], str) and isinstance(answer["created"], int) and isinstance(answer["model"], str)
    (choice,) = answer["choices"]
    assert choice["index"] == 0 and choice["finish_reason"] in ("stop", "length") and "logprobs" in choice
    if path == CHAT:
        assert choice["message"]["role"] == "assistant" and isinstance(choice["message"]["content"], str)


@BOTH
def test_usage_adds_up(target: Target, path: str) -> None:
    usage = target.answer(path, max_tokens=4)["usage"]
    assert usage["prompt_tokens"] > 0 and 1 <= usage["completion_tokens"] <= 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_usage_tells_how_much_of_the_prompt_was_in_a_cache(target: Target) -> None:
    usage = target.answer()["usage"]
    assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] <= usage["prompt_tokens"]


def test_an_answer_tells_llama_servers_timings(target: Target) -> None:
    answer = target.answer()
    timings, usage = answer["timings"], answer["usage"]
    assert timings["cache_n"] + timings["prompt_n"] == usage["prompt_tokens"]
    assert timings["predicted_n"] == usage["completion_tokens"]
    for name in ("prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_ms", "predicted_per_second"):
        assert timings[name] >= 0
    assert target.chunks()[-1]["timings"]["predicted_n"] == usage["completion_tokens"]


def test_a_stream_is_server_sent_events(target: Target) -> None:
    with target.streaming() as (response, chunks):
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert "no-" in response.headers["Cache-Control"]
        assert list(chunks)


@BOTH
def test_all_chunks_of_a_stream_belong_to_one_answer(target: Target, path: str) -> None:
    chunks = target.chunks(path)
    kind = "chat.completion.chunk" if path == CHAT else "text_completion"
    assert {chunk["object"] for chunk in chunks} == {kind}
    for name in ("id", "created", "model"):
        assert len({chunk[name] for chunk in chunks}) == 1


def test_a_chats_stream_begins_with_the_role(target: Target) -> None:
    deltas = [choice["delta"] for choice in choices_of(target.chunks())]
    assert deltas[0]["role"] == "assistant"
    assert not any("role" in delta for delta in deltas[1:])


@BOTH
def test_only_the_last_chunk_of_a_choice_has_a_reason(target: Target, path: str) -> None:
    reasons = [choice["finish_reason"] for choice in choices_of(target.chunks(path))]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] in ("stop", "length")


@BOTH
def test_a_stream_says_what_the_whole_answer_says(target: Target, path: str) -> None:
    assert joined(target.chunks(path, max_tokens=24)) == target.text(path, max_tokens=24)


def test_a_stream_comes_in_pieces(target: Target) -> None:
    assert sum(bool(text_of(choice)) for choice in choices_of(target.chunks(max_tokens=24))) > 2


def test_without_a_wish_a_stream_has_no_usage(target: Target) -> None:
    assert not any(chunk.get("usage") for chunk in target.chunks())
    assert all(chunk["choices"] for chunk in target.chunks())


@BOTH
def test_the_usage_of_a_stream_comes_last_and_without_choices(target: Target, path: str) -> None:
    *chunks, last = target.chunks(path, **COUNTED)
    assert last["choices"] == []
    assert all("usage" in chunk and chunk["usage"] is None for chunk in chunks)
    whole = target.answer(path)["usage"]
    assert [last["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")] == [
        whole[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    ]


@BOTH
def test_an_answer_is_never_longer_than_max_tokens(target: Target, path: str) -> None:
    answer = target.answer(path, max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_the_newer_name_of_max_tokens_is_known(target: Target) -> None:
    body = target.body(max_completion_tokens=2)
    del body["max_tokens"]
    assert target.ask(body).json()["usage"]["completion_tokens"] <= 2


# The likeliest text of a very small model may be one letter again and again, with no stop text in it.
VARIED: dict[str, Any] = {"max_tokens": 24, "temperature": 1.5, "seed": 5}


def stop_in(text: str) -> str:
    """Choose something from the middle of a text that does not begin it."""
    middle = len(text) // 2
    return next(text[middle : middle + size] for size in range(1, 20) if text.find(text[middle : middle + size]) > 0)


@BOTH
def test_a_stop_text_ends_an_answer_and_is_not_shown(target: Target, path: str) -> None:
    full = target.text(path, **VARIED)
    stop = stop_in(full)
    choice = target.answer(path, stop=stop, **VARIED)["choices"][0]
    assert (text_of(choice), choice["finish_reason"]) == (full[: full.index(stop)], "stop")


def test_any_of_several_stop_texts_ends_an_answer(target: Target) -> None:
    full = target.text(**VARIED)
    stop = stop_in(full)
    assert target.text(stop=["\u2603 never", stop], **VARIED) == full[: full.index(stop)]


@BOTH
def test_nothing_of_a_stop_text_leaks_into_a_stream(target: Target, path: str) -> None:
    full = target.text(path, **VARIED)
    stop = full[len(full) // 2 :]
    chunks = target.chunks(path, stop=[stop], **VARIED)
    assert (joined(chunks), reason_of(chunks)) == (full[: full.index(stop)], "stop")


def test_a_stop_text_that_never_comes_holds_nothing_back(target: Target) -> None:
    full = target.text(**VARIED)
    assert joined(target.chunks(stop=[full + "\u2603"], **VARIED)) == full


@BOTH
def test_several_choices_have_their_own_numbers(target: Target, path: str) -> None:
    answer = target.answer(path, n=3, temperature=1.5, max_tokens=6)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] <= 18


def test_several_choices_of_a_stream_end_each_for_itself(target: Target) -> None:
    chunks = target.chunks(n=2, temperature=1.5, seed=3, max_tokens=6)
    assert {reason_of(chunks, 0), reason_of(chunks, 1)} <= {"stop", "length"}
    assert [choices_of(chunks, index)[0]["delta"]["role"] for index in (0, 1)] == ["assistant"] * 2
    whole = target.answer(n=2, temperature=1.5, seed=3, max_tokens=6)["choices"]
    assert [joined(chunks, index) for index in (0, 1)] == [text_of(choice) for choice in whole]


def test_choices_of_one_seed_differ(target: Target) -> None:
    choices = target.answer(n=3, temperature=1.5, seed=3, max_tokens=12)["choices"]
    assert len({text_of(choice) for choice in choices}) > 1


def test_a_completion_answers_several_prompts_in_order(target: Target) -> None:
    prompts = [QUESTION_A, QUESTION_B]
    choices = target.answer(COMPLETION, prompt=prompts)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    assert [text_of(choice) for choice in choices] == [target.text(COMPLETION, prompt=prompt) for prompt in prompts]


QUESTION_A, QUESTION_B = "The sea is", "Two ferries cross"


def test_a_prompt_may_be_tokens(target: Target) -> None:
    usage = target.answer(COMPLETION, prompt=[40, 41, 42, 43])["usage"]
    assert usage["prompt_tokens"] in (4, 5)  # some servers begin every prompt with a token of their own


def test_logprobs_are_null_unless_asked_for(target: Target) -> None:
    assert target.answer()["choices"][0]["logprobs"] is None
    assert not any(choice.get("logprobs") for choice in choices_of(target.chunks()))


def test_a_chats_logprobs_tell_of_every_token(target: Target) -> None:
    answer = target.answer(logprobs=True, max_tokens=6)
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert len(tokens) == answer["usage"]["completion_tokens"]
    for token in tokens:
        assert token["logprob"] <= 0 and token["top_logprobs"] == [] and isinstance(token["token"], str)
    spelled = b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", "replace")
    assert spelled.startswith(text_of(answer["choices"][0]))


def test_the_likeliest_token_is_the_first_of_the_alternatives(target: Target) -> None:
    for token in target.answer(logprobs=True, top_logprobs=3, max_tokens=6)["choices"][0]["logprobs"]["content"]:
        likely = [other["logprob"] for other in token["top_logprobs"]]
        assert len(likely) == 3 and likely == sorted(likely, reverse=True)
        assert math.isclose(likely[0], token["logprob"], abs_tol=1e-4)
        assert sum(map(math.exp, likely)) <= 1.0001


def test_a_streams_logprobs_are_those_of_the_whole_answer(target: Target) -> None:
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "max_tokens": 6}
    parts = [choice["logprobs"] for choice in choices_of(target.chunks(**options)) if choice.get("logprobs")]
    streamed = [token["token"] for part in parts for token in part["content"]]
    whole = target.answer(**options)["choices"][0]["logprobs"]["content"]
    assert streamed == [token["token"] for token in whole]


def test_a_completions_logprobs_are_lists_of_one_length(target: Target) -> None:
    answer = target.answer(COMPLETION, logprobs=2, max_tokens=6)
    logprobs = answer["choices"][0]["logprobs"]
    count = answer["usage"]["completion_tokens"]
    assert [len(logprobs[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")] == [count] * 4
    assert all(2 <= len(likely) <= 3 for likely in logprobs["top_logprobs"])
    assert logprobs["text_offset"] == sorted(logprobs["text_offset"])


def test_the_most_likely_answer_is_always_the_same(target: Target) -> None:
    assert len({target.text(max_tokens=16) for _ in range(3)}) == 1


def test_a_seed_repeats_an_answer_and_another_one_does_not(target: Target) -> None:
    def answer(seed: int) -> str:
        return target.text(temperature=1.5, seed=seed, max_tokens=16)

    assert answer(5) == answer(5)
    assert len({answer(seed) for seed in range(6, 10)}) > 1


def test_without_a_seed_answers_differ(target: Target) -> None:
    assert len({target.text(temperature=1.5, max_tokens=16) for _ in range(4)}) > 1


def test_a_bias_forces_a_token(target: Target) -> None:
    forced = target.text(COMPLETION, logit_bias={"100": 100}, max_tokens=4)
    assert forced == forced[: len(forced) // 4] * 4


def test_penalties_make_an_answer_repeat_itself_less(target: Target) -> None:
    def distinct(**options: Any) -> int:
        answer = target.answer(COMPLETION, prompt="a a a a a a a a", max_tokens=24, logprobs=0, **options)
        return len(set(answer["choices"][0]["logprobs"]["tokens"]))

    assert distinct(logit_bias={"100": 3}, frequency_penalty=2, presence_penalty=2) > distinct(logit_bias={"100": 100})
