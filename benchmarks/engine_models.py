"""The models that engines are measured with, in every form that an engine reads; made once and kept.

In: a model's name and a form. Out: a path below the cache (`bench-models`). A file that is there is whole: it is made
beside its place and moved there.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import peers
from bundle import cache
from bundle.demo_model import demo_folder

ROOT = Path(__file__).resolve().parent.parent
SHAPE, REAL = "Qwen1.5-0.5B's shape", "SmolLM2-135M"
# Making them in this process would leave torch's memory to it.
SHAPE_PROGRAM = """
import sys
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

config = Qwen2Config(
    vocab_size=151_936, hidden_size=1024, intermediate_size=2816, num_hidden_layers=24, num_attention_heads=16,
    num_key_value_heads=16, max_position_embeddings=32_768, rope_theta=1_000_000.0, rms_norm_eps=1e-6,
    tie_word_embeddings=True, bos_token_id=151_643, eos_token_id=151_645,
)
torch.manual_seed(0)
model = Qwen2ForCausalLM(config).to(torch.bfloat16)
model.generation_config.eos_token_id = [151_645, 151_643]
model.save_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(sys.argv[2]).save_pretrained(sys.argv[1])
"""
# The converter wants to know how a tokenizer splits text, and knows no Qwen2 with a borrowed one. Tokens are given as
# numbers here, so that any name of a rule will do.
CONVERTER_PROGRAM = """
import runpy
from conversion import base

base.TextModel.get_vocab_base_pre = lambda *_: "qwen2"
runpy.run_module("convert_hf_to_gguf", run_name="__main__", alter_sys=True)
"""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def folder(name: str) -> Path:
    """Return the folder of safetensors, with a tokenizer: the random weights borrow the real model's."""
    if name == REAL:
        return demo_folder()
    return _made(
        "qwen1.5-0.5b-shape", lambda out: _run([sys.executable, "-c", SHAPE_PROGRAM, str(out), str(demo_folder())])
    )


def gguf(name: str, precision: str) -> Path:
    """Return llama.cpp's file of a model; precision as its converter calls it: f32, q8_0."""
    model = folder(name)

    def convert(out: Path) -> None:
        program = ["-m", "convert_hf_to_gguf"] if name == REAL else ["-c", CONVERTER_PROGRAM]
        words = [str(model), "--outfile", str(out), "--outtype", precision]
        _run([sys.executable, *program, *words], PYTHONPATH=str(peers.converter()))

    return _made(f"{_stem(name)}-{precision}.gguf", convert)


def openvino(name: str) -> Path:
    """Return OpenVINO's folder of a model, its weights in int8."""
    model, program = folder(name), peers.openvino().with_name("optimum-cli")
    task = ["--task", "text-generation-with-past", "--weight-format", "int8"]
    return _made(
        f"{_stem(name)}-openvino-int8",
        lambda out: _run([program, "export", "openvino", "--model", model, *task, out]),
    )


def _stem(name: str) -> str:
    return "smollm2-135m" if name == REAL else "qwen1.5-0.5b-shape"


def _made(name: str, make: Callable[[Path], None]) -> Path:
    home = cache.folder("bench-models")
    place = home / name
    if not place.exists():
        print(f"making {name}, once", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=home) as temporary:
            new = Path(temporary, name)
            make(new)
            shutil.move(new, place)
    return place


def _run(words: Sequence[str | Path], **environment: str) -> None:
    """Run a converter to its end.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **OFFLINE, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
