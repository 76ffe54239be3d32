"""A safetensors file -> its tensors, by parsing the header as if somebody hostile had written it.

The format is eight bytes (the header's length, little endian), that much JSON, and the tensors' bytes without a gap:
huggingface/safetensors, "Format". Nothing is loaded. Stricter than the library where a model never is otherwise: a key
that occurs twice, anything but UTF-8, more tensors or dimensions than a language model has.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

LENGTH_BYTES = 8
# The library allows 100 MB; a shard of a model with 90,000 tensors takes 10.
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 200_000
MAX_DIMENSIONS = 8
MAX_NAME_CHARACTERS = 512
MAX_BYTES = 1 << 45
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "I8": 8, "U8": 8, "BOOL": 8,
}  # fmt: skip
FIELDS = {"dtype", "shape", "data_offsets"}
METADATA = "__metadata__"
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class Tensor:
    """Type, shape, and where its bytes begin and end behind the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file holds: name -> tensor in the order of their bytes, its metadata, and where the bytes begin."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    data_start: int


def read(path: Path) -> Header:
    """Read the header of a file.

    Raises:
        ValueError: it is no safetensors file; the message says why, and is one line of plain text.
    """
    with path.open("rb") as file:
        return parse(file, path.stat().st_size)


def parse(file: BinaryIO, size_bytes: int) -> Header:
    """Read the header of a file of `size_bytes`, of which no more than the header is read. Raises ValueError."""
    start = file.read(LENGTH_BYTES)
    if len(start) < LENGTH_BYTES:
        raise ValueError(f"it has {len(start)} bytes")
    if LFS_POINTER.startswith(start):
        raise ValueError("it is a Git LFS pointer and not the file: fetch it with git lfs pull")
    (length,) = struct.unpack("<Q", start)
    if length > min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES):
        raise ValueError(f"a header of {length} bytes")
    raw = _decoded(file.read(length))
    metadata = _metadata(raw.pop(METADATA, {}))
    if not 0 < len(raw) <= MAX_TENSORS:
        raise ValueError(f"{len(raw)} tensors")
    found = {name: _tensor(name, value) for name, value in raw.items()}
    tensors = dict(sorted(found.items(), key=lambda item: (item[1].start, item[1].stop, item[0])))
    _check_places(tensors, size_bytes - LENGTH_BYTES - length)
    return Header(tensors, metadata, LENGTH_BYTES + length)


def _decoded(data: bytes) -> dict[str, Any]:
    if not data.startswith(b"{"):
        raise ValueError("its header does not begin with {")
    try:
        raw = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("its header is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("its header is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"its header is not JSON: {error.msg}") from error
    if not isinstance(raw, dict):
        raise ValueError("its header is not an object")
    return raw


def _metadata(raw: Any) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
        raise ValueError(f"{METADATA} is not a table of texts")
    return raw


def _tensor(name: str, raw: Any) -> Tensor:
    shown = ascii(name[:80])
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"tensor {shown}: not a name")
    if not isinstance(raw, dict) or set(raw) != FIELDS:
        raise ValueError(f"tensor {shown}: not exactly {', '.join(sorted(FIELDS))}")
    dtype, shape, offsets = raw["dtype"], raw["shape"], raw["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"tensor {shown}: dtype {ascii(dtype)[:40]} is not known")
    if not _are_sizes(shape) or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"tensor {shown}: shape {ascii(shape)[:80]}")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"tensor {shown}: data_offsets {ascii(offsets)[:80]}")
    tensor = Tensor(dtype, tuple(shape), *offsets)
    if tensor.elements * BITS[dtype] != (tensor.stop - tensor.start) * 8:
        raise ValueError(f"tensor {shown}: {dtype} of shape {shape} does not take {tensor.stop - tensor.start} bytes")
    return tensor


def _are_sizes(value: Any) -> bool:
    """Tell whether a value is a list of whole numbers that a file can have; True is no number here, nor is 1.0."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= MAX_BYTES for item in value)


def _check_places(tensors: dict[str, Tensor], data_bytes: int) -> None:
    end = 0
    for name, tensor in tensors.items():
        if tensor.start != end:
            what = "overlaps the one before it" if tensor.start < end else f"leaves a gap of {tensor.start - end} bytes"
            raise ValueError(f"tensor {name[:80]!a} {what}")
        end = tensor.stop
    if end != data_bytes:
        raise ValueError(f"its tensors take {end} bytes, and it has {data_bytes}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:80]!a} occurs twice")
        found[key] = value
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")
