"""Answers of real models: the demo model's are those of transformers' generate, and a Qwen2 stops at both tokens."""

from collections.abc import Iterator
from pathlib import Path

import compiled_kernels
import pytest
import tiny_model
import torch
from engine_process import EngineProcess, chat, events, running
from plain_loop import generate
from transformers import AutoModelForCausalLM, AutoTokenizer

from bundle.demo_model import demo_folder
from service.config import Engine
from service.engine.model import Model, load
from service.engine.room import Room
from service.engine.sampling import Sampling

QUESTIONS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain gravity to a child.",
    "Zähle drei Städte in Österreich auf 🏔",
    "Summarise: " + "the ferry crosses the strait every hour and carries cars and people. " * 20,
]
TOKENS = 48


@pytest.fixture(scope="module")
def demo() -> Path:
    return demo_folder()


@pytest.fixture(scope="module")
def engine(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    home = tmp_path_factory.mktemp("engine")
    with running(EngineProcess(home, demo, "SmolLM2-135M-Instruct", "[engine]\nthreads = 1\n")) as process:
        yield process


@pytest.fixture(scope="module")
def reference(demo: Path) -> dict[str, str]:
    """What transformers answers, question by question, with as many threads as the engine."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(demo)
    network = AutoModelForCausalLM.from_pretrained(demo, dtype=torch.float32)

    def answer(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
        output = network.generate(**prompt, do_sample=False, max_new_tokens=TOKENS)
        return str(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))

    return {question: answer(question) for question in QUESTIONS}


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_greedy_answers_are_those_of_transformers(
    engine: EngineProcess, reference: dict[str, str], question: str
) -> None:
    with engine.client() as client:
        body = client.post("/v1/chat/completions", json=chat(question, temperature=0, max_tokens=TOKENS)).json()
    assert body["choices"][0]["message"]["content"] == reference[question]


def test_the_capital_of_france_is_streamed_word_by_word(engine: EngineProcess) -> None:
    with engine.client() as client:
        streamed = client.post("/v1/chat/completions", json=chat(QUESTIONS[0], stream=True))
    *chunks, mark = events(streamed.text.splitlines())
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(pieces) == "The capital of France is Paris."
    assert len([piece for piece in pieces if piece]) >= 5
    assert (chunks[-1]["choices"][0]["finish_reason"], mark) == ("stop", "[DONE]")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Model:
    home = tmp_path_factory.mktemp("tiny")
    compiled_kernels.bring(home)
    return load(tiny_model.make(home / "model"), Engine(context_tokens=512, threads=1), home, Room(0))


def last_token(model: Model, seed: int) -> int:
    return generate(model.decoder, [1, 5, 6], 400, Sampling(temperature=1.0, seed=seed), model.stop_tokens)[-1]


def test_a_qwen_stops_at_both_of_its_stop_tokens(tiny: Model) -> None:
    assert tiny.stop_tokens == {0, 2}
    assert {last_token(tiny, seed) for seed in range(20)} >= {0, 2}
