"""Which token follows: as transformers would have it, reproducible, and from nothing but scores, seed and history."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import LogitsProcessorList, Qwen2Config, Qwen2ForCausalLM, RepetitionPenaltyLogitsProcessor
from transformers.generation import (
    LogitsProcessor,
    MinPLogitsWarper,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from service.engine.chooser import Chooser, distribution
from service.engine.protocol import Options
from service.engine.sampling import Sampling

VOCABULARY = 3_001


def scores(seed: int, size: int = VOCABULARY, spread: float = 3.0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)


def warpers(sampling: Sampling) -> LogitsProcessorList:
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    steps += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
    steps += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    steps += [MinPLogitsWarper(sampling.min_p)] if sampling.min_p else []
    return LogitsProcessorList(steps)


def expected(sampling: Sampling, row: NDArray[np.float32]) -> NDArray[np.float64]:
    """The chances that transformers gives; in float64, so that rounding puts no token on the other side of a bound."""
    chances: NDArray[np.float64] = (
        warpers(sampling)(torch.zeros((1, 0), dtype=torch.long), torch.from_numpy(row)[None].double())[0]
        .softmax(-1)
        .numpy()
    )
    return chances


def ours(sampling: Sampling, row: NDArray[np.float32]) -> NDArray[np.float64]:
    tokens, weights = distribution(row, sampling)
    chances = np.zeros(len(row))
    chances[tokens] = weights / weights.sum(dtype=np.float64)
    return chances


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0),
        Sampling(0.7, top_k=5),
        Sampling(0.7, top_k=1),
        Sampling(1.3, top_k=VOCABULARY + 1),
        Sampling(1.0, top_k=900),
        Sampling(1.5, top_p=0.6),
        Sampling(1.0, top_p=0.999),
        Sampling(1.0, top_p=1e-6),
        Sampling(1.0, min_p=0.05),
        Sampling(1.0, min_p=1.0),
        Sampling(1.2, top_k=40, top_p=0.8, min_p=0.1),
        Sampling(0.05, top_p=0.9),
    ],
    ids=str,
)
def test_the_tokens_that_can_come_and_how_often_are_those_of_transformers(sampling: Sampling, spread: float) -> None:
    row = scores(3, spread=spread)
    chances, wanted = ours(sampling, row), expected(sampling, row)
    assert set(np.flatnonzero(chances)) == set(np.flatnonzero(wanted > 1e-40))
    assert np.abs(chances - wanted).max() < 1e-6


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=1, max_size=700),
    st.sampled_from([0.2, 1.0, 2.0]),
    st.integers(0, 800),
    st.sampled_from([0.0, 0.03, 0.5]),
)
def test_tokens_that_tie_with_the_last_of_top_k_stay_as_with_transformers(
    values: list[int], temperature: float, top_k: int, min_p: float
) -> None:
    row = np.array(values, np.float32) / 4
    sampling = Sampling(temperature, top_k=top_k, min_p=min_p)
    assert np.abs(ours(sampling, row) - expected(sampling, row)).max() < 1e-6


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-60, 60), min_size=1, max_size=700), st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_tokens_that_reach_it(values: list[int], top_p: float) -> None:
    row = np.array(values, np.float32) / 4
    chances = np.exp(row.astype(np.float64) - row.max())
    chances /= chances.sum()
    kept = np.flatnonzero(ours(Sampling(1.0, top_p=top_p), row))
    assert chances[kept].sum() >= top_p - 1e-6
    assert chances[kept].sum() - chances[kept].min() <= top_p + 1e-6
    assert chances[kept].min() >= np.delete(chances, kept).max(initial=0) - 1e-9


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.9999])
def test_a_flat_distribution_of_a_large_vocabulary_keeps_the_same_tokens_as_with_transformers(top_p: float) -> None:
    """Thousands are kept, so halves of them are passed over unsorted; among equals the lowest numbers stay."""
    row = scores(4, 30_000, spread=0.3)
    sampling = Sampling(1.0, top_p=top_p)
    assert np.abs(ours(sampling, row) - expected(sampling, row)).max() < 1e-6
    equal = np.zeros(30_000, np.float32)
    assert np.flatnonzero(ours(sampling, equal)).tolist() == list(range(round(top_p * 30_000)))


@pytest.fixture(scope="module")
def network() -> Qwen2ForCausalLM:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    config = Qwen2Config(
        vocab_size=500,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=None,
        bos_token_id=None,
    )
    return Qwen2ForCausalLM(config).eval()


@torch.inference_mode()
def decode(network: Qwen2ForCausalLM, prompt: Sequence[int], chooser: Chooser, count: int) -> list[int]:
    output = network(input_ids=torch.tensor([list(prompt)]), use_cache=True)
    tokens = []
    for _ in range(count):
        tokens.append(chooser.choose(output.logits[0, -1].numpy()).token)
        output = network(input_ids=torch.tensor([tokens[-1:]]), past_key_values=output.past_key_values)
    return tokens


@pytest.mark.parametrize("penalty", [1.0, 1.1, 1.3, 0.8])
@pytest.mark.parametrize("bias", [{}, {7: 5.0, 9: -100.0}], ids=["plain", "biased"])
def test_greedy_gives_the_very_tokens_of_generate(
    network: Qwen2ForCausalLM, penalty: float, bias: dict[int, float]
) -> None:
    prompt = [3, 1, 4, 1, 5, 9, 2, 6]
    settings = {"repetition_penalty": penalty, "sequence_bias": [[[token], value] for token, value in bias.items()]}
    wanted = network.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones((1, len(prompt))),
        do_sample=False,
        max_new_tokens=60,
        pad_token_id=0,
        **{name: value for name, value in settings.items() if value},
    )[0, len(prompt) :].tolist()
    sampling = Sampling(repetition_penalty=penalty, logit_bias=tuple(bias.items()))
    assert decode(network, prompt, Chooser(sampling, prompt), 60) == wanted


def processed(
    sampling: Sampling, prompt: Sequence[int], history: Sequence[int], row: NDArray[np.float32]
) -> list[float]:
    """The scores that a chooser takes the highest of, after it was led to choose `history`."""
    chooser = Chooser(sampling, prompt)
    for token in history:
        led = np.full(len(row), -1e9, np.float32)
        led[token] = 1e9
        assert chooser.choose(led).token == token
    left = row.copy()
    chooser.choose(left)
    return [float(value) for value in left]


def test_bias_and_repetition_penalty_are_bit_for_bit_those_of_transformers() -> None:
    row, prompt, history = scores(5), [5, 9, 9, 2000], [17, 5]
    for penalty in (1.1, 1.3, 0.7):
        steps = [SequenceBiasLogitsProcessor([[[9], 2.5], [[17], -1.25]]), RepetitionPenaltyLogitsProcessor(penalty)]
        wanted = LogitsProcessorList(steps)(torch.tensor([[*prompt, *history]]), torch.from_numpy(row.copy())[None])[0]
        sampling = Sampling(repetition_penalty=penalty, logit_bias=((9, 2.5), (17, -1.25)))
        assert processed(sampling, prompt, history, row) == wanted.tolist()


def test_presence_and_frequency_penalties_count_the_answer_alone() -> None:
    row = scores(6)
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    left = np.array(processed(sampling, [1, 2, 2], [8, 9, 9, 9], row))
    changed = {int(token): float(row[token] - left[token]) for token in np.flatnonzero(left != row)}
    assert changed == {8: pytest.approx(0.75, abs=1e-5), 9: pytest.approx(1.25, abs=1e-5)}


def test_a_bias_on_a_token_that_does_not_exist_changes_nothing() -> None:
    row = scores(7)
    assert processed(Sampling(logit_bias=((-1, 50.0), (VOCABULARY, 50.0))), [], [], row) == row.tolist()


def draws(sampling: Sampling, count: int, index: int = 0, row: NDArray[np.float32] | None = None) -> list[int]:
    chooser = Chooser(sampling, [], index=index)
    source = scores(3) if row is None else row
    return [chooser.choose(source.copy()).token for _ in range(count)]


@pytest.mark.parametrize("size", [7, 511, 512, 513, 1500], ids=lambda size: f"{size} tokens")
def test_tokens_are_drawn_as_often_as_they_are_likely(size: int) -> None:
    row, count = scores(8, size, spread=1.0), 6_000
    counts = np.bincount(draws(Sampling(1.0, seed=1), count, row=row), minlength=size)
    chances = expected(Sampling(1.0), row)
    # Pearson's chi-square over tokens that are expected five times and more: its mean is their number, and its
    # deviation the root of twice that. The seed is fixed, so this passes always or never.
    frequent = chances * count >= 5
    square = (((counts - chances * count) ** 2) / (chances * count))[frequent].sum()
    assert abs(square - frequent.sum()) < 4 * math.sqrt(2 * frequent.sum())


def test_the_same_seed_gives_the_same_tokens_and_another_one_others() -> None:
    def sampling(seed: int) -> Sampling:
        return Sampling(1.0, seed=seed)

    assert draws(sampling(1), 20) == draws(sampling(1), 20) != draws(sampling(2), 20)
    assert draws(sampling(-(2**63)), 20) != draws(sampling(2**63 - 1), 20)


def test_a_seed_gives_these_tokens_in_every_release() -> None:
    assert draws(Sampling(1.0, top_p=0.9, seed=42), 8) == [2231, 940, 2440, 1966, 1966, 1966, 940, 9]
    assert draws(Sampling(1.0, seed=42), 8) == [2231, 772, 2448, 1966, 1949, 1966, 834, 9]


def test_the_choices_of_one_request_draw_numbers_of_their_own() -> None:
    assert draws(Sampling(1.0, seed=1), 20, index=0) != draws(Sampling(1.0, seed=1), 20, index=1)


def test_without_a_seed_every_answer_is_its_own() -> None:
    assert draws(Sampling(2.0), 20) != draws(Sampling(2.0), 20)


def test_a_choice_does_not_depend_on_where_the_scores_lie_in_memory() -> None:
    row = scores(9, 20_011)
    for sampling in (Sampling(1.0), Sampling(1.0, top_p=0.95), Sampling(0.8, top_k=50)):
        for offset in range(1, 17):
            room = np.zeros(len(row) + offset, np.float32)
            room[offset:] = row
            tokens, weights = distribution(room[offset:], sampling)
            same_tokens, same_weights = distribution(row, sampling)
            assert np.array_equal(tokens, same_tokens)
            assert np.array_equal(weights, same_weights)


def test_of_equally_likely_tokens_greedy_takes_the_lowest() -> None:
    assert Chooser(Sampling(), []).choose(np.array([1, 3, 3, 2], np.float32)).token == 1


def test_a_very_low_temperature_takes_the_most_likely_token() -> None:
    for temperature in (1e-320, 1e-30, 1e-6, 1e-4):
        assert set(draws(Sampling(temperature, seed=3), 5)) == {int(scores(3).argmax())}


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0), Sampling(1.0, top_k=3, top_p=0.5)], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_an_error_and_no_token(sampling: Sampling, bad: float) -> None:
    row = scores(1)
    row[17] = bad
    with pytest.raises(ValueError, match="the highest of the model's scores"):
        Chooser(sampling, []).choose(row)


def test_a_token_without_a_chance_is_never_drawn() -> None:
    row = np.full(2_000, -np.inf, np.float32)
    row[[600, 1_400]] = 0
    assert set(draws(Sampling(1.0, seed=1), 200, row=row)) == {600, 1_400}
    assert set(draws(Sampling(1.0, top_k=50, top_p=0.99, min_p=0.01, seed=1), 200, row=row)) == {600, 1_400}


def test_log_probabilities_are_those_of_the_models_raw_scores() -> None:
    row = scores(10)
    wanted = torch.from_numpy(row.copy()).double().log_softmax(-1)
    sampling = Sampling(0.5, top_k=2, logit_bias=((4, 90.0),), repetition_penalty=1.5, seed=1, top_logprobs=5)
    choice = Chooser(sampling, [4]).choose(row)
    assert choice.token == 4
    assert choice.logprob == pytest.approx(float(wanted[4]), abs=1e-5)
    best = wanted.topk(5)
    assert [token for token, _ in choice.top] == best.indices.tolist()
    assert [likely for _, likely in choice.top] == pytest.approx(best.values.tolist(), abs=1e-5)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 400))
def test_the_likeliest_tokens_come_best_first_and_are_at_most_certain_together(
    seed: int, count: int, size: int
) -> None:
    row = np.round(scores(seed, size))
    choice = Chooser(Sampling(top_logprobs=count), []).choose(row)
    told = [likely for _, likely in choice.top]
    assert len(told) == min(count, size)
    assert told == sorted(told, reverse=True)
    assert sum(math.exp(likely) for likely in told) <= 1 + 1e-6
    assert (choice.token, choice.logprob) == choice.top[0]


def test_log_probabilities_are_told_where_asked_for_only() -> None:
    assert Chooser(Sampling(), []).choose(scores(1)).logprob is None
    alone = Chooser(Sampling(top_logprobs=0), []).choose(scores(1))
    assert alone.logprob is not None
    assert alone.top == ()


def test_a_request_that_is_silent_gets_the_makers_defaults() -> None:
    makers = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1}
    assert Sampling.of(Options(), makers) == Sampling(0.6, 0.9, 20, 0.1, 1.1)
    assert Sampling.of(Options(), {**makers, "do_sample": False}).temperature == 0
    asked = Options(
        temperature=0.0, top_p=1.0, top_k=-1, min_p=0.0, repetition_penalty=1.0, logit_bias={5: 1.0, 3: 2.0}
    )
    assert Sampling.of(asked, makers) == Sampling(logit_bias=((3, 2.0), (5, 1.0)))
