"""The token generator, over a decoder whose scores are written down."""

from collections.abc import Sequence

import pytest
import torch

from service.engine.errors import Cancelled
from service.engine.generation import PREFILL_TOKENS, generate
from service.engine.sampling import Sampling

VOCABULARY = 50


class Script:
    """A decoder that wants the tokens of a list, one after the other."""

    def __init__(self, wanted: Sequence[int]) -> None:
        self.fed: list[list[int]] = []
        self.restarts = 0
        self._wanted = iter(wanted)

    def restart(self) -> None:
        self.restarts += 1

    def feed(self, tokens: Sequence[int]) -> torch.Tensor:
        self.fed.append(list(tokens))
        scores = torch.zeros(VOCABULARY)
        scores[next(self._wanted, 0)] = 1
        return scores


def run(script: Script, prompt: Sequence[int] = (1, 2), stops: Sequence[int] = (), max_tokens: int = 10) -> list[int]:
    return list(generate(script, prompt, Sampling(), set(stops), max_tokens, lambda: None))


@pytest.mark.parametrize("stop", [8, 9])
def test_an_answer_ends_at_either_stop_token(stop: int) -> None:
    assert run(Script([5, 6, stop, 7]), stops=[8, 9]) == [5, 6, stop]


def test_an_answer_is_never_longer_than_allowed_and_the_last_token_is_not_fed() -> None:
    script = Script([5, 6, 7, 8])
    assert run(script, max_tokens=3) == [5, 6, 7]
    assert script.fed == [[1, 2], [5], [6]]


def test_a_long_prompt_is_read_in_pieces() -> None:
    prompt = list(range(PREFILL_TOKENS + 5))
    script = Script([0, 5])
    run(script, prompt, max_tokens=1)
    assert script.fed == [prompt[:PREFILL_TOKENS], prompt[PREFILL_TOKENS:]]


def test_every_answer_begins_with_an_empty_slot() -> None:
    script = Script([5, 6])
    run(script, max_tokens=1)
    run(script, max_tokens=1)
    assert script.restarts == 2


@pytest.mark.parametrize("last_step", [0, 1, 2, 3, 4, 5])
def test_no_step_follows_a_cancel_in_prefill_or_in_decode(last_step: int) -> None:
    script = Script([5] * 20)

    def check() -> None:
        if len(script.fed) == last_step:
            raise Cancelled

    with pytest.raises(Cancelled):
        list(generate(script, [1] * (3 * PREFILL_TOKENS), Sampling(), set(), 10, check))
    assert len(script.fed) == last_step
