"""float32 gives transformers' own greedy tokens: 256 on each of 20 prompts, beside strangers, after hits and evictions.

Every token is compared with what transformers' forward finds likeliest after all tokens before it, which is what its
`generate` takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import compiled_kernels
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen3Config

from bundle.demo_model import demo_folder
from service.config import Engine
from service.engine.decoding import Decoder, Feed, Pages
from service.engine.fast_decoder import FastDecoder
from service.engine.model import load
from service.engine.room import Room

TOKENS, TOGETHER, PAGES_EACH = 256, 8, 6
SIZES = {"vocab_size": 403, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2}
TOPICS = (
    "the sea", "bread", "prime numbers", "the moon", "chess", "a bridge", "tea", "snow", "trains", "bees",
    "glass", "maps", "a violin", "rivers", "salt", "clocks", "paper", "wind", "gardens", "letters",
)  # fmt: skip
RANDOM: dict[str, Any] = {
    "qwen2": Qwen2Config(**SIZES, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True),
    "qwen3": Qwen3Config(**SIZES, num_attention_heads=4, num_key_value_heads=2, head_dim=64, tie_word_embeddings=False),
}


@pytest.fixture(scope="module", params=["smollm2", *RANDOM])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model, or a small one of random weights that lie as far apart as a trained one's."""
    if request.param not in RANDOM:
        return demo_folder()
    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_config(RANDOM[request.param]).float()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    folder = tmp_path_factory.mktemp(request.param)
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    home = tmp_path_factory.mktemp("release")
    compiled_kernels.bring(home)
    (home / "model").symlink_to(model)
    settings = Engine(context_tokens=64 * PAGES_EACH, slots=TOGETHER, threads=2)
    decoder = load(home / "model", settings, home, Room(0)).decoder
    assert isinstance(decoder, FastDecoder)
    return decoder


@pytest.fixture(scope="module")
def prompts(model: Path) -> list[list[int]]:
    texts = [f"Write a long story about {topic}. Once upon a time" for topic in TOPICS]
    if model == demo_folder():
        tokenizer = AutoTokenizer.from_pretrained(model)
        return [tokenizer(text).input_ids for text in texts]
    return [list(topic.encode()) for topic in TOPICS]


@pytest.fixture(scope="module")
def reference(model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()


def write(
    decoder: Decoder, asked: list[tuple[Pages, list[int]]], cached: int = 0, count: int = TOKENS
) -> list[list[int]]:
    """Continue prompts greedily, all at once; the first tokens of each are in its pages already."""
    feeds = [Feed(pages, cached, prompt[cached:], True) for pages, prompt in asked]
    answers: list[list[int]] = [[] for _ in asked]
    for _ in range(count):
        for answer, scores in zip(answers, decoder.step(feeds), strict=True):
            answer.append(int(np.argmax(scores)))
        feeds = [
            Feed(pages, len(prompt) + len(answer) - 1, answer[-1:], True)
            for (pages, prompt), answer in zip(asked, answers, strict=True)
        ]
    return answers


def pages_of(place: int) -> Pages:
    return Pages(list(range(place * PAGES_EACH, (place + 1) * PAGES_EACH)))


@torch.inference_mode()
def likeliest(reference: Any, prompt: list[int], answer: list[int]) -> list[int]:
    scores = reference(torch.tensor([prompt + answer])).logits[0]
    return [int(token) for token in scores[len(prompt) - 1 : -1].argmax(-1)]


def test_all_tokens_are_transformers_whatever_else_is_decoded(
    decoder: Decoder, prompts: list[list[int]], reference: Any
) -> None:
    answers: list[list[int]] = []
    # The first once more, beside the last ones.
    asked = [*prompts, prompts[0]]
    for start in range(0, len(asked), TOGETHER):
        # From the second round on, the pages hold what was evicted.
        part = asked[start : start + TOGETHER]
        answers += write(decoder, [(pages_of(place), prompt) for place, prompt in enumerate(part)])
    assert answers.pop() == answers[0], "after an eviction, beside others"
    assert [len(answer) for answer in answers] == [TOKENS] * len(TOPICS)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer == likeliest(reference, prompt, answer)
    last = len(prompts) - 1
    again = (pages_of(last % TOGETHER), prompts[last])
    assert write(decoder, [again], cached=len(prompts[last]) - 2) == [answers[last]], "after a hit, alone"


@torch.inference_mode()
def test_generate_itself_gives_the_same_tokens(decoder: Decoder, prompts: list[list[int]], reference: Any) -> None:
    # The real model takes its time for each.
    count = TOKENS if reference.config.vocab_size == SIZES["vocab_size"] else 32
    asked = torch.tensor([prompts[0]])
    found = reference.generate(asked, do_sample=False, min_new_tokens=count, max_new_tokens=count)[0]
    assert write(decoder, [(pages_of(0), prompts[0])], count=count) == [found[len(prompts[0]) :].tolist()]
