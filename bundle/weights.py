"""The gate for weights, and what config.json and the safetensors headers say of them.

A folder goes in; facts come out, or a refusal. Nothing is loaded: a safetensors header is length-prefixed JSON, and
everything else that could hold code is refused by its name. Format: huggingface/safetensors, "Format".
"""

import json
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from checksums.errors import IntegrityError

# Pickles by their usual names (CVE-2025-32434), and code that transformers may import from beside the weights.
REFUSED_SUFFIXES = {".py", ".pyc", ".so", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack"}
TOKENIZERS = ({"tokenizer.json"}, {"tokenizer.model"}, {"vocab.json", "merges.txt"})
MAX_HEADER_BYTES = 100_000_000
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip
NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
HINT = "choose a model that is published as safetensors and needs no code of its own"


@dataclass(frozen=True)
class Facts:
    """dtype of most weights, number of parameters (a tied matrix once), and KV cache in float32 bytes a token."""

    dtype: str
    parameters: int
    kv_bytes_per_token: int


def check_names(model_id: str, paths: Iterable[str]) -> None:
    """Refuse a model by the names of its files, before any is fetched.

    Raises:
        IntegrityError: it carries code or pickles, or lacks what an answer needs; everything is named at once.
    """
    present = set(paths)
    bad = sorted(path for path in present if PurePosixPath(path).suffix.lower() in REFUSED_SUFFIXES)
    faults = [f"{path} may hold code" for path in bad]
    faults += [] if "config.json" in present else ["config.json is missing"]
    faults += [] if any(path.endswith(".safetensors") for path in present) else ["no *.safetensors"]
    faults += [] if any(needed <= present for needed in TOKENIZERS) else ["no tokenizer"]
    if faults:
        raise IntegrityError(f"{model_id}: {'; '.join(faults)}", HINT)


def read_facts(model_id: str, folder: Path, paths: Iterable[str]) -> Facts:
    """Read what a fetched model is.

    Raises:
        IntegrityError: a config asks for code of its own, or a safetensors file is not well formed.
    """
    paths = sorted(paths)
    for name in (path for path in paths if path.endswith("config.json")):
        if "auto_map" in _json(model_id, folder, name):
            raise IntegrityError(f"{model_id}: {name}: auto_map asks to run code that comes with the model", HINT)
    config = _json(model_id, folder, "config.json")
    tensors: dict[str, Any] = {}
    for name in (path for path in paths if path.endswith(".safetensors")):
        tensors |= read_header(folder / name, f"{model_id}: {name}")
    tied = config.get("tie_word_embeddings", False) and any("embed_tokens" in name for name in tensors)
    counted = {name: tensor for name, tensor in tensors.items() if not (tied and name == "lm_head.weight")}
    return Facts(_dtype(counted), sum(math.prod(tensor["shape"]) for tensor in counted.values()), _kv_bytes(config))


def read_header(path: Path, name: str) -> dict[str, Any]:
    """Return tensor name -> {dtype, shape, data_offsets} of a safetensors file whose header fits its size exactly.

    Raises:
        IntegrityError: the header is malformed, or tensors overlap, leave gaps or do not fill the file.
    """
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = 0
        for tensor in sorted(tensors.values(), key=lambda tensor: tensor["data_offsets"]):
            start, stop = tensor["data_offsets"]
            if start != end or (stop - start) * 8 != math.prod(tensor["shape"]) * BITS[tensor["dtype"]]:
                raise ValueError("tensors overlap, leave gaps or have the wrong size")
            end = stop
        if 8 + size + end != path.stat().st_size:
            raise ValueError("the tensors do not fill the file")
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise IntegrityError(f"{name}: not a safetensors file: {error}", HINT) from error
    return tensors


def _dtype(tensors: dict[str, Any]) -> str:
    sizes: dict[str, int] = {}
    for tensor in tensors.values():
        sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + math.prod(tensor["shape"])
    most = max(sizes, key=lambda name: (sizes[name], name))
    return NAMES.get(most, most.lower())


def _kv_bytes(config: dict[str, Any]) -> int:
    heads = int(config.get("num_attention_heads") or 0)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_size = int(config.get("head_dim") or (int(config.get("hidden_size") or 0) // max(heads, 1)))
    return 2 * 4 * int(config.get("num_hidden_layers") or 0) * kv_heads * head_size


def _json(model_id: str, folder: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((folder / name).read_bytes())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{model_id}: {name}: not JSON: {error}", HINT) from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{model_id}: {name}: not a JSON object", HINT)
    return value
