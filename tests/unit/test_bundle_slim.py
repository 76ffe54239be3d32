"""A tied output matrix is carried once where both copies are the same, byte for byte, and else as it came."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny_model

from bundle import safetensors_header, slim
from bundle.progress import Progress
from bundle.slim import Slimmed
from checksums.errors import IntegrityError

QUIET = Progress(quiet=True)
EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ROWS = os.urandom(80)
MATRIX, NORM = ("BF16", [10, 4], ROWS), ("F32", [4], bytes(range(16)))
TENSORS = {OUTPUT: MATRIX, EMBEDDING: MATRIX, "model.norm.weight": NORM}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(folder: Path, files: dict[str, Any], is_tied: object = True) -> Path:
    """Write safetensors files out of tables of tensors, and a config."""
    folder.mkdir(exist_ok=True)
    for name, tensors in files.items():
        (folder / name).write_bytes(tiny_model.safetensors(tensors, {"format": "pt", "a": "ü"}))
    (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": is_tied}))
    if WEIGHTS not in files:
        weight_map = {name: file for file, tensors in files.items() for name in tensors}
        (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 176}, "weight_map": weight_map}))
    return folder


def run(folder: Path) -> Slimmed:
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    return slim.slim(folder, digests, QUIET)


def content(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    header, data = safetensors_header.read(path), path.read_bytes()
    return {
        name: (t.dtype, t.shape, data[header.data_start + t.start : header.data_start + t.stop])
        for name, t in header.tensors.items()
    }


def test_the_copy_is_left_out_and_everything_else_stays(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {WEIGHTS: TENSORS})
    before = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    slimmed = run(folder)
    new = slimmed.rewritten[WEIGHTS]
    expected = content(folder / WEIGHTS)
    del expected[OUTPUT]
    assert content(new.source) == expected
    assert safetensors_header.read(new.source).metadata == {"a": "ü", "format": "pt"}
    assert new.upstream_sha256 == before
    assert new.sha256 == slimmed.digests[WEIGHTS] == hashlib.sha256(new.source.read_bytes()).hexdigest()
    assert slimmed.digests["config.json"]
    assert "80 bytes" in slimmed.note


def test_the_tensors_begin_at_a_multiple_of_eight(tmp_path: Path) -> None:
    new = run(write(tmp_path / "model", {WEIGHTS: TENSORS})).rewritten[WEIGHTS]
    assert safetensors_header.read(new.source).data_start % 8 == 0


def test_the_same_model_gives_the_same_bytes_wherever_the_copy_stood(tmp_path: Path) -> None:
    first = run(write(tmp_path / "first", {WEIGHTS: TENSORS})).digests[WEIGHTS]
    moved = {EMBEDDING: MATRIX, "model.norm.weight": NORM, OUTPUT: MATRIX}
    assert run(write(tmp_path / "second", {WEIGHTS: moved})).digests[WEIGHTS] == first


def test_a_second_run_writes_nothing_and_a_removed_file_is_written_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {WEIGHTS: TENSORS})
    new = run(folder).rewritten[WEIGHTS]
    written = new.source.stat().st_mtime_ns
    assert run(folder).rewritten[WEIGHTS] == new
    assert new.source.stat().st_mtime_ns == written
    new.source.unlink()
    assert hashlib.sha256(run(folder).rewritten[WEIGHTS].source.read_bytes()).hexdigest() == new.sha256


def test_in_shards_the_index_is_adapted(tmp_path: Path) -> None:
    files = {"model-1.safetensors": {EMBEDDING: MATRIX}, "model-2.safetensors": {OUTPUT: MATRIX, "norm": NORM}}
    slimmed = run(write(tmp_path / "model", files))
    assert set(slimmed.rewritten) == {"model-2.safetensors", INDEX}
    assert set(content(slimmed.rewritten["model-2.safetensors"].source)) == {"norm"}
    index = json.loads(slimmed.rewritten[INDEX].source.read_text())
    assert index["weight_map"] == {EMBEDDING: "model-1.safetensors", "norm": "model-2.safetensors"}
    assert index["metadata"]["total_size"] == 96


def test_a_shard_that_held_nothing_else_is_left_out(tmp_path: Path) -> None:
    files = {"model-1.safetensors": {EMBEDDING: MATRIX, "norm": NORM}, "model-2.safetensors": {OUTPUT: MATRIX}}
    slimmed = run(write(tmp_path / "model", files))
    assert set(slimmed.digests) == {"model-1.safetensors", INDEX, "config.json"}
    assert set(slimmed.rewritten) == {INDEX}


OTHER = ("BF16", [10, 4], ROWS[:-1] + bytes([ROWS[-1] ^ 1]))


@pytest.mark.parametrize(
    ("tensors", "is_tied", "why"),
    [
        (TENSORS, False, "one of its own"),
        (TENSORS, None, "one of its own"),
        ({EMBEDDING: MATRIX}, True, "holds no copy"),
        ({OUTPUT: MATRIX, "other.weight": MATRIX}, True, "holds no copy"),
        ({**TENSORS, OUTPUT: OTHER}, True, "is not the same"),
        ({**TENSORS, OUTPUT: ("F16", [10, 4], ROWS)}, True, "is not the same"),
        ({**TENSORS, OUTPUT: ("BF16", [4, 10], ROWS)}, True, "is not the same"),
        ({EMBEDDING: ("U8", [3], b"abc"), OUTPUT: ("U8", [3], b"abc")}, True, "would not be aligned"),
    ],
)
def test_a_matrix_that_is_no_copy_is_carried_and_the_reason_said(
    tmp_path: Path, tensors: Any, is_tied: object, why: str
) -> None:
    folder = write(tmp_path / "model", {WEIGHTS: tensors}, is_tied)
    slimmed = run(folder)
    assert slimmed.rewritten == {}
    assert set(slimmed.digests) == {WEIGHTS, "config.json"}
    assert why in slimmed.note


def test_a_file_that_changed_since_it_was_checked_is_not_rewritten(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", {WEIGHTS: TENSORS})
    digests = {WEIGHTS: "0" * 64, "config.json": "1" * 64}
    with pytest.raises(IntegrityError, match=r"sha256 is .* and was 0000"):
        slim.slim(folder, digests, QUIET)
