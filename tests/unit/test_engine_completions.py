"""OpenAI's plain completions: texts and tokens as prompts, and logprobs by number."""

import json
from typing import Any

import pytest

from service.engine.errors import RequestError
from service.engine.protocol import parse_completion


def completion(prompt: object, **fields: Any) -> bytes:
    return json.dumps({"prompt": prompt, **fields}).encode()


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("once", ["once"]),
        (["once"], ["once"]),
        (["once", "twice"], ["once", "twice"]),
        ([5, 6], [(5, 6)]),
        ([[5, 6], [7]], [(5, 6), (7,)]),
    ],
)
def test_a_completion_takes_texts_and_tokens(prompt: object, prompts: list[object]) -> None:
    assert [request.prompt for request in parse_completion(completion(prompt))] == prompts


@pytest.mark.parametrize("prompt", ["", None, [], [""], [[]], 5, [1.5], [True], ["a", 1], [[1], ["a"]], ["a"] * 17])
def test_a_prompt_that_is_none_is_named(prompt: object) -> None:
    with pytest.raises(RequestError) as caught:
        parse_completion(completion(prompt))
    assert caught.value.param == "prompt"


def test_a_completions_logprobs_are_a_number() -> None:
    assert [parse_completion(completion("x", logprobs=n))[0].options.top_logprobs for n in (None, 0, 5)] == [None, 0, 5]
    for wrong in (True, 6, -1, "2"):
        with pytest.raises(RequestError) as caught:
            parse_completion(completion("x", logprobs=wrong))
        assert caught.value.param == "logprobs"


def test_a_completion_has_no_tools() -> None:
    with pytest.raises(RequestError) as caught:
        parse_completion(completion("x", tools=[{"type": "function", "function": {"name": "look_up"}}]))
    assert caught.value.param == "tools"
