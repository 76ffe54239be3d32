"""The sampler, over scores that are written down."""

import pytest
import torch
from transformers import LogitsProcessorList, RepetitionPenaltyLogitsProcessor
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from service.engine.sampler import Sampler
from service.engine.sampling import Sampling

VOCABULARY = 50


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
