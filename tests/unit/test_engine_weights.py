"""A model's matrices come into tiles as they were in its files, whatever their size and however many threads do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from service.engine.kernels.table import TILE_ROWS
from service.engine.room import Room
from service.engine.shape import read_shape
from service.engine.weights import ROWS_A_JOB, ROWS_AT_ONCE, Weights

LANES = 8
# More than a thread's share, some rows more than are converted at once, and a last tile that is not full.
VOCABULARY = ROWS_A_JOB + ROWS_AT_ONCE + 3
CONFIG = LlamaConfig(
    vocab_size=VOCABULARY, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=1
)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(CONFIG).to(torch.bfloat16)
    network.folder = tmp_path_factory.mktemp("model")
    network.save_pretrained(network.folder)
    return network


def load(folder: Path, is_int8: bool, threads: int) -> dict[str, np.ndarray]:
    return Weights(folder, read_shape(CONFIG, LANES), Room(0), LANES, is_int8, threads).arrays


def rows_of(tiles: np.ndarray, together: int) -> np.ndarray:
    """Take a matrix out of its tiles again."""
    parts = tiles.reshape(len(tiles) // TILE_ROWS, -1, TILE_ROWS, together)
    return np.asarray(parts.transpose(0, 2, 1, 3).reshape(tiles.shape))


def test_float32_tiles_hold_every_number(network: Any) -> None:
    found = load(network.folder, is_int8=False, threads=2)
    embedding = rows_of(found["embedding"], LANES)
    assert np.array_equal(embedding[:VOCABULARY], network.model.embed_tokens.weight.detach().float().numpy())
    assert not embedding[VOCABULARY:].any()
    second = network.model.layers[1].mlp.down_proj.weight.detach().float().numpy()
    assert np.array_equal(rows_of(found["down"][1], LANES), second)


def test_int8_is_the_nearest_whole_number_of_scales(network: Any) -> None:
    found = load(network.folder, is_int8=True, threads=2)
    matrix = network.lm_head.weight.detach().float().numpy()
    numbers, scale = rows_of(found["output"], 2 * LANES)[:VOCABULARY], found["output_scale"][:VOCABULARY]
    assert np.array_equal(scale, np.abs(matrix).max(-1) / np.float32(127))
    assert np.array_equal(numbers, np.rint(matrix / scale[:, None]))


@pytest.mark.parametrize("is_int8", [False, True])
def test_the_number_of_threads_changes_nothing(network: Any, is_int8: bool) -> None:
    one, more = load(network.folder, is_int8, threads=1), load(network.folder, is_int8, threads=3)
    assert one.keys() == more.keys()
    assert all(np.array_equal(one[name], more[name]) for name in one)


def test_a_file_that_ends_early_is_told_whatever_thread_finds_it(network: Any, tmp_path: Path) -> None:
    (found,) = network.folder.glob("*.safetensors")
    (tmp_path / found.name).write_bytes(found.read_bytes()[:-4])
    with pytest.raises(ValueError, match="ends before the tensor does"):
        load(tmp_path, is_int8=False, threads=2)
