"""Reading tensors row by row gives what the safetensors library wrote, as float32; a file cut short is no model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from service.engine.tensors import opened

MATRIX = torch.arange(35, dtype=torch.float32).reshape(7, 5) / 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_those_that_were_written(tmp_path: Path, dtype: torch.dtype) -> None:
    matrix, vector = MATRIX.to(dtype), torch.tensor([1.5, -2.0]).to(dtype)
    save_file({"matrix": matrix, "vector": vector}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with opened(tmp_path) as tensors:
        assert set(tensors) == {"matrix", "vector"}
        assert np.array_equal(tensors["matrix"].rows(2, 4), matrix[2:4].float().numpy())
        assert np.array_equal(tensors["matrix"].rows(6, 100), matrix[6:].float().numpy())
        assert tensors["matrix"].rows(7, 9).shape == (0, 5)
        assert np.array_equal(tensors["vector"].all(), vector.float().numpy())
        assert tensors["vector"].all().dtype == np.float32


def test_tensors_of_several_files_are_found_by_their_names(tmp_path: Path) -> None:
    save_file({"a": MATRIX}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": MATRIX * 2}, tmp_path / "model-00002-of-00002.safetensors")
    with opened(tmp_path) as tensors:
        assert np.array_equal(tensors["b"].all(), tensors["a"].all() * 2)


def test_a_file_that_ends_before_its_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"matrix": MATRIX}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with opened(tmp_path) as tensors, pytest.raises(ValueError, match="ends before the tensor does"):
        tensors["matrix"].all()


def test_a_tensor_of_whole_numbers_is_no_weight(tmp_path: Path) -> None:
    save_file({"counts": torch.ones(3, dtype=torch.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="counts is of I64"), opened(tmp_path):
        pass
