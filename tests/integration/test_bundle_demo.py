"""The demo's model: out of a real Python package, converted by the real transformers, and it answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundle import demo_model, profiles, wheels
from bundle.profiles import PackageModel
from checksums.hashing import sha256_file

ANSWER = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], local_files_only=True)
how = {"local_files_only": True, "use_safetensors": True, "dtype": torch.float32}
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], **how)
turns = [{"role": "user", "content": "What is the capital of France?"}]
prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
tokens = model.generate(**prompt, max_new_tokens=24, do_sample=False)[0][prompt["input_ids"].shape[1]:]
print(tokenizer.decode(tokens))
"""


@pytest.fixture(scope="module")
def folder() -> Path:
    return demo_model.demo_folder()


def test_the_converted_model_answers_and_stops(folder: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", ANSWER, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "The capital of France is Paris.<|im_end|>"


def test_it_carries_what_an_engine_needs(folder: Path) -> None:
    found = demo_model.digests(folder)
    assert {"LICENSE", "chat_template.jinja", "generation_config.json", "tokenizer.json"} <= set(found)
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == 2
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == 8192


def test_a_file_that_was_lost_is_noticed(folder: Path) -> None:
    model = profiles.load("demo").model
    assert isinstance(model, PackageModel)
    assert demo_model.missing(model) == []
    lost = folder / "LICENSE"
    lost.rename(folder / "LICENSE.away")
    try:
        assert demo_model.missing(model) == [demo_model.as_locked(model)]
    finally:
        (folder / "LICENSE.away").rename(lost)


def test_converting_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    model = profiles.load("demo").model
    assert isinstance(model, PackageModel)
    wheel = wheels.stored(demo_model.as_locked(model))
    demo_model._convert(model, wheel, tmp_path)
    again = tmp_path / "model"
    assert {path.name: sha256_file(path) for path in again.iterdir()} == demo_model.digests(folder)
