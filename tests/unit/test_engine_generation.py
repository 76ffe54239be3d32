"""The token generator and the sampler, over a decoder whose scores are written down."""

from collections.abc import Sequence

import pytest
import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from service.engine.errors import Cancelled
from service.engine.generation import PREFILL_TOKENS, generate
from service.engine.sampler import Sampler
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


def scores() -> torch.Tensor:
    return torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(3)) * 3


def test_greedy_takes_the_most_likely_token() -> None:
    assert Sampler(Sampling(), []).pick(scores()) == int(scores().argmax())


def test_the_same_seed_gives_the_same_tokens_and_another_one_others() -> None:
    def draw(seed: int) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed), [])
        return [sampler.pick(scores()) for _ in range(20)]

    assert draw(1) == draw(1) != draw(2)


def test_without_a_seed_every_answer_is_its_own() -> None:
    draws = [[Sampler(Sampling(temperature=2.0), []).pick(scores()) for _ in range(20)] for _ in range(2)]
    assert draws[0] != draws[1]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "penalty"),
    [(1.0, 0, 1.0, 1.0), (0.7, 5, 1.0, 1.0), (1.5, 0, 0.6, 1.0), (1.2, 12, 0.8, 1.3), (1.0, 99, 0.01, 1.0)],
)
def test_the_tokens_that_can_come_and_how_often_are_those_of_transformers(
    temperature: float, top_k: int, top_p: float, penalty: float
) -> None:
    prompt = [1, 7, 30]
    steps = [RepetitionPenaltyLogitsProcessor(penalty), TemperatureLogitsWarper(temperature)]
    steps += [TopKLogitsWarper(top_k)] if top_k else []
    steps += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    expected = LogitsProcessorList(steps)(torch.tensor([prompt]), scores()[None])[0].softmax(-1)
    drawn = torch.zeros(VOCABULARY)
    count = 4000
    for seed in range(count):
        drawn[Sampler(Sampling(temperature, top_p, top_k, penalty, seed), prompt).pick(scores())] += 1 / count
    assert set(drawn.nonzero().flatten().tolist()) <= set(expected.nonzero().flatten().tolist())
    assert (drawn - expected).abs().max() < 0.03


def test_the_repetition_penalty_counts_the_prompt_and_the_answer_itself() -> None:
    sampler = Sampler(Sampling(repetition_penalty=2.0), [0])
    level = torch.tensor([3.0, 2.0, 1.8, -1.0])
    assert [sampler.pick(level.clone()) for _ in range(3)] == [1, 2, 0]
