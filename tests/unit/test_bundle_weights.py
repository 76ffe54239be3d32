"""The gate for weights: code and pickles are refused by name, a safetensors file by its header; sizes are computed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle import weights
from checksums.errors import IntegrityError

NAMES = ["config.json", "model.safetensors", "tokenizer.json"]
CONFIG = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, "tie_word_embeddings": True}
EMBEDDING = {"dtype": "BF16", "shape": [10, 4], "data_offsets": [0, 80]}
OUTPUT = {"dtype": "BF16", "shape": [10, 4], "data_offsets": [80, 160]}
TENSORS = {"model.embed_tokens.weight": EMBEDDING, "lm_head.weight": OUTPUT, "__metadata__": {"format": "pt"}}


def write(folder: Path, header: Any = TENSORS, config: Any = CONFIG, data: bytes = bytes(160)) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_plain_model_passes() -> None:
    weights.check_names("Owner/Name", NAMES)
    weights.check_names("Owner/Name", ["config.json", "a/model-1.safetensors", "vocab.json", "merges.txt", "LICENSE"])


@pytest.mark.parametrize("extra", ["modeling.py", "pytorch_model.bin", "a/b.PT", "x.pth", "x.pkl", "x.ckpt", "x.so"])
def test_what_may_hold_code_is_refused_by_its_name(extra: str) -> None:
    with pytest.raises(IntegrityError, match=extra):
        weights.check_names("Owner/Name", [*NAMES, extra])


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(IntegrityError, match=r"config\.json is missing; no \*\.safetensors; no tokenizer"):
        weights.check_names("Owner/Name", ["README.md"])


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_config_that_asks_for_code_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).write_text(json.dumps({**CONFIG, "auto_map": {"AutoModel": "x--y.Z"}}))
    with pytest.raises(IntegrityError, match=rf"{name}: auto_map"):
        weights.read_facts("Owner/Name", tmp_path, {*NAMES, name})


def test_a_tied_matrix_is_counted_once(tmp_path: Path) -> None:
    facts = weights.read_facts("Owner/Name", write(tmp_path), NAMES)
    assert (facts.dtype, facts.parameters) == ("bfloat16", 40)


def test_an_output_matrix_of_its_own_is_counted(tmp_path: Path) -> None:
    untied = write(tmp_path, config={**CONFIG, "tie_word_embeddings": False})
    assert weights.read_facts("Owner/Name", untied, NAMES).parameters == 80


def test_the_kv_cache_is_computed_from_the_config(tmp_path: Path) -> None:
    """Keys and values, float32, for every layer and key-value head: 2 x 4 x 2 x 4 x 16 bytes a token."""
    assert weights.read_facts("Owner/Name", write(tmp_path), NAMES).kv_bytes_per_token == 1024
    grouped = write(tmp_path, config={**CONFIG, "num_key_value_heads": 2, "head_dim": 8})
    assert weights.read_facts("Owner/Name", grouped, NAMES).kv_bytes_per_token == 256


def tensor(**changes: Any) -> dict[str, Any]:
    return {"a": {**EMBEDDING, **changes}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: write(folder, b"not json"),
        lambda folder: write(folder, []),
        lambda folder: write(folder, {"a": 3}),
        lambda folder: write(folder, {"a": {"dtype": "BF16"}}),
        lambda folder: write(folder, tensor(shape=[11, 4]), data=bytes(80)),
        lambda folder: write(folder, tensor(dtype="Q4"), data=bytes(80)),
        lambda folder: write(folder, tensor(data_offsets=[8, 88]), data=bytes(88)),
        lambda folder: write(folder, tensor(), data=bytes(79)),
        lambda folder: write(folder, tensor(), data=bytes(81)),
        lambda folder: write(folder, {"a": EMBEDDING, "b": EMBEDDING}, data=bytes(80)),
        lambda folder: (write(folder) / "model.safetensors").write_bytes(b""),
        lambda folder: (write(folder) / "model.safetensors").write_bytes(b"\xff" * 64),
    ],
)
def test_a_malformed_safetensors_file_is_refused(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(tmp_path)
    with pytest.raises(IntegrityError, match=r"model\.safetensors: not a safetensors file"):
        weights.read_facts("Owner/Name", tmp_path, NAMES)
