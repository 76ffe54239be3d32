"""The decoder over transformers' own forward, with small random models: sequences that share steps stay apart."""

from pathlib import Path

import compiled_kernels
import numpy as np
import pytest
import tiny_model
import torch
from plain_loop import generate
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from service.config import Engine
from service.engine.decoding import PAGE_TOKENS, Feed, Pages
from service.engine.model import load
from service.engine.room import SLACK_BYTES, Room
from service.engine.sampling import Sampling
from service.engine.torch_decoder import TorchDecoder

LONG = [3 + number * number % 200 for number in range(300)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def decoder(folder: Path) -> TorchDecoder:
    torch.set_num_threads(1)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return TorchDecoder(network, network.config.num_hidden_layers, network.config.vocab_size, 2048, 64)


def test_greedy_tokens_are_those_of_transformers(folder: Path, decoder: TorchDecoder) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = torch.tensor([LONG])
    expected = network.generate(prompt, do_sample=False, max_new_tokens=60, eos_token_id=None)[0, len(LONG) :]
    assert generate(decoder, LONG, 60) == expected.tolist()


@pytest.mark.parametrize("chunk", [32, 96, 256])
def test_reading_in_chunks_gives_the_very_scores_of_reading_at_once(decoder: TorchDecoder, chunk: int) -> None:
    sampling = Sampling(temperature=1.0, seed=1)
    assert generate(decoder, LONG, 40, sampling, chunk=chunk) == generate(decoder, LONG, 40, sampling)


def test_what_stood_in_a_cache_before_is_forgotten(decoder: TorchDecoder) -> None:
    pages = Pages(list(range(6)))
    generate(decoder, LONG, 20, pages=pages)
    assert generate(decoder, LONG[:50], 20, pages=pages) == generate(decoder, LONG[:50], 20)


def test_neighbours_in_a_step_change_nothing(decoder: TorchDecoder) -> None:
    pages = [Pages([0, 1]), Pages([2, 3]), Pages([4])]
    feeds = [Feed(pages[0], 0, LONG[:70], True), Feed(pages[1], 0, LONG[9:99], False), Feed(pages[2], 0, [5], True)]
    together = decoder.step(feeds)
    assert together.shape == (2, decoder.vocabulary) and together.dtype == np.float32
    for row, feed in zip(together, (feeds[0], feeds[2]), strict=True):
        assert (row == decoder.step([Feed(Pages(feed.pages.numbers), 0, feed.tokens, True)])[0]).all()


def test_memory_follows_the_pages_of_a_sequence_and_ends_with_it(decoder: TorchDecoder) -> None:
    pages, other = Pages([0, 1, 2, 3]), Pages([4])
    decoder.step([Feed(pages, 0, LONG[:200], False)])
    assert room(decoder, pages) == 4 * PAGE_TOKENS
    del pages.numbers[2:]
    decoder.step([Feed(other, 0, [1], False)])
    assert room(decoder, pages) == 2 * PAGE_TOKENS
    scores = decoder.step([Feed(pages, 100, LONG[100:120], True)])
    whole = decoder.step([Feed(Pages([5, 6]), 0, LONG[:120], True)])
    assert np.allclose(scores, whole, atol=1e-4)
    del pages
    assert [*decoder._caches] == [other]


def room(decoder: TorchDecoder, pages: Pages) -> int:
    return int(decoder._caches[pages].layers[0].keys.shape[2])


def test_a_model_without_kernels_of_ours_runs_too() -> None:
    torch.manual_seed(0)
    network = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=256, n_embd=32, n_layer=2, n_head=2)).eval()
    decoder = TorchDecoder(network, 2, 300, 256, 8)
    prompt = [number % 299 for number in LONG[:90]]
    expected = network.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=30, eos_token_id=None)
    assert generate(decoder, prompt, 30) == expected[0, 90:].tolist()


def test_a_model_that_the_kernels_do_not_know_does_not_take_its_memory_twice(tmp_path: Path) -> None:
    compiled_kernels.bring(tmp_path)
    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=128, n_embd=64, n_layer=1, n_head=1)).save_pretrained(
        tmp_path / "model"
    )
    room = Room(1 << 20)
    found = load(tmp_path / "model", Engine(context_tokens=64, threads=1), tmp_path, room)
    assert isinstance(found.decoder, TorchDecoder)
    # Nothing is left in it, not even its slack: what is asked for now is memory of its own.
    first, second = room.take((SLACK_BYTES // 4,), np.uint8), room.take((SLACK_BYTES // 4,), np.uint8)
    assert first.base is None and second.base is None
