"""The decode step: what transformers computes, and for each sequence the same bits whatever else is in the step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import compiled_kernels
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config

from service.engine.decoding import PAGE_TOKENS, Feed, Pages
from service.engine.fast_decoder import FastDecoder, make_angles
from service.engine.kernels.loading import load
from service.engine.kernels.processor import SOURCES
from service.engine.room import Room
from service.engine.shape import UnknownShape, read_shape
from service.engine.weights import Weights

CONTEXT, PAGES, VOCABULARY = 320, 24, 403
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2}
CONFIGS = {
    "qwen2": Qwen2Config(**SIZES, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, num_attention_heads=6, num_key_value_heads=2, head_dim=64, tie_word_embeddings=False),
    "llama": LlamaConfig(**SIZES, num_attention_heads=4, num_key_value_heads=1, head_dim=96, tie_word_embeddings=True),
}


@pytest.fixture(scope="module", params=CONFIGS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(CONFIGS[request.param]).float().eval()
    for name, parameter in network.named_parameters():
        if "bias" in name or "norm" in name:
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    network.folder = folder
    return network


def decoder(network: Any, precision: str, threads: int = 1, lanes: int = 8) -> FastDecoder:
    folder = compiled_kernels.folder(lanes)
    shape = read_shape(network.config, lanes)
    weights = Weights(network.folder, shape, Room(0), lanes, precision == "int8")
    kind = np.uint16 if precision == "int8" else np.float32
    angles = make_angles(network.config, CONTEXT)
    return FastDecoder(load(folder, precision), shape, weights, angles, CONTEXT, PAGES, threads, kind)


def tokens(count: int, seed: int = 0) -> list[int]:
    return list(np.random.default_rng(seed).integers(0, VOCABULARY, count))


@torch.inference_mode()
def reference(network: Any, ids: list[int]) -> np.ndarray:
    return np.array(network(torch.tensor([ids])).logits[0].numpy())


def run(decoder: FastDecoder, ids: list[int], pages: Pages, cuts: list[int]) -> np.ndarray:
    """Feed a sequence in pieces that end at `cuts`; give the scores of its end."""
    start = 0
    for end in sorted({*cuts, len(ids)}):
        for at in range(start, end, decoder.max_rows):
            scores = decoder.step([Feed(pages, at, ids[at : min(at + decoder.max_rows, end)], True)])
        start = end
    return scores[0].copy()


@pytest.mark.parametrize("lanes", [8, 16])
def test_float32_gives_transformers_scores(network: Any, lanes: int) -> None:
    ids = tokens(300)
    found = run(decoder(network, "float32", lanes=lanes), ids, Pages(list(range(6))), [7, 64, 65, 129, 290])
    assert np.abs(found - reference(network, ids)[-1]).max() < 1e-5


def test_int8_stays_close_to_float32(network: Any) -> None:
    ids = tokens(200)
    wanted = reference(network, ids)[-1]
    found = run(decoder(network, "int8"), ids, Pages(list(range(6))), [90])
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()
    assert not np.array_equal(found, wanted)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_number_of_threads_changes_no_bit(network: Any, precision: str) -> None:
    ids = tokens(100)
    found = [run(decoder(network, precision, threads), ids, Pages(list(range(6))), [30]) for threads in (1, 2, 3)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_neither_neighbours_nor_cuts_nor_old_pages_change_a_bit(network: Any, precision: str) -> None:
    one = decoder(network, precision, threads=2)
    wanted = {
        seed: run(one, tokens(30 + 40 * seed, seed), Pages(list(range(seed * 4, seed * 4 + 4))), [])
        for seed in range(4)
    }

    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def mixed(chance: Any) -> None:
        numbers = list(range(PAGES))
        chance.shuffle(numbers)
        left = {seed: (Pages(numbers[seed * 4 : seed * 4 + 4]), 0) for seed in range(4)}
        while left:
            feeds, names, room = [], [], one.max_rows
            for seed in chance.sample(list(left), chance.randint(1, len(left))):
                pages, start = left[seed]
                ids = tokens(30 + 40 * seed, seed)
                end = min(len(ids), start + chance.randint(1, 40))
                if end - start > room:
                    continue
                room -= end - start
                feeds.append(Feed(pages, start, ids[start:end], end == len(ids)))
                names.append(seed)
                left[seed] = (pages, end)
            scores = iter(one.step(feeds)) if feeds else iter(())
            for seed, feed in zip(names, feeds, strict=True):
                if feed.wants_scores:
                    assert np.array_equal(next(scores), wanted[seed])
                    del left[seed]

    mixed()


def test_a_sequence_can_go_back_and_on_with_other_tokens(network: Any) -> None:
    one, pages = decoder(network, "float32"), Pages([4, 9, 1])
    wanted = run(one, tokens(70), Pages([5, 6]), [])
    run(one, tokens(50) + tokens(100, 7), pages, [])
    assert np.array_equal(one.step([Feed(pages, 50, tokens(70)[50:], True)])[0], wanted)


def test_what_a_step_cannot_do_is_refused(network: Any) -> None:
    one = decoder(network, "float32")
    for feed in (
        Feed(Pages([0]), 0, [], True),
        Feed(Pages([0]), 0, [VOCABULARY], True),
        Feed(Pages([0]), 0, [-1], True),
        Feed(Pages([PAGES]), 0, [1], True),
        Feed(Pages([-1]), 0, [1], True),
        Feed(Pages([0]), -1, [1, 1], True),
        Feed(Pages([0]), PAGE_TOKENS, [1], True),
        Feed(Pages([0, 1]), 0, [1] * (one.max_rows + 1), True),
    ):
        with pytest.raises(ValueError):
            one.step([feed])


def test_a_model_that_the_kernels_do_not_fit_is_named(network: Any) -> None:
    with pytest.raises(UnknownShape, match="is no multiple of"):
        read_shape(network.config, 64)
    with pytest.raises(UnknownShape, match="gpt2 are not among qwen2, qwen3, llama"):
        read_shape(GPT2Config(), 8)


def test_kernels_are_made_anew_when_anything_changes_that_goes_into_them() -> None:
    folder = compiled_kernels.CHECKOUT / "service/engine/kernels"
    # Of what else build.py imports nothing is compiled.
    found, left = {folder / "build.py"}, {folder / "step.py", folder / "whole.py"}
    while left:
        path = left.pop()
        found.add(path)
        names = re.findall(r"^from (service\.engine\.\S+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
        left |= {compiled_kernels.CHECKOUT / (name.replace(".", "/") + ".py") for name in names} - found
    assert {(folder / name).resolve() for name in SOURCES} == found


def test_a_matrix_of_another_size_is_named(network: Any, tmp_path: Path) -> None:
    shape = read_shape(network.config, 8)
    with pytest.raises(ValueError, match="a matrix is"):
        Weights(network.folder, type(shape)(**{**shape.__dict__, "inner": 256}), Room(0), 8, is_int8=False)
