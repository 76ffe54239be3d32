"""Tensors of a folder of safetensors: a name comes in, rows of a matrix come out as float32 when they are asked for.

Read and not mapped: pages of a mapped file count as the process's memory, and a second copy of the model would be
resident while it loads. What the files are was checked when the bundle was built, their bytes when it was installed.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.engine.header import read_header

# How a file's numbers are read. numpy has no bfloat16: it is the upper half of a float32.
BFLOAT16: np.dtype[Any] = np.dtype("<u2")
DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": BFLOAT16,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One tensor in a file; `start` is where its first byte is. Several threads may read at once."""

    file: FileIO
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def rows(self, first: int, end: int) -> NDArray[np.float32]:
        """Read some rows. Raises: ValueError when the file ends before them."""
        found = np.empty((max(0, min(end, self.shape[0]) - first), *self.shape[1:]), self.dtype)
        where = self.start + first * prod(self.shape[1:]) * self.dtype.itemsize
        data: Any = found.reshape(-1).view(np.uint8)
        # It says where: there is no position that threads would share.
        if os.preadv(self.file.fileno(), [data], where) != found.nbytes:
            raise ValueError(f"{self.file.name}: ends before the tensor does")
        return _widen(found) if self.dtype == BFLOAT16 else found.astype(np.float32, copy=False)

    def all(self) -> NDArray[np.float32]:
        """Read the whole of it."""
        return self.rows(0, self.shape[0])


def _widen(halves: NDArray[Any]) -> NDArray[np.float32]:
    wide = halves.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


@contextmanager
def opened(folder: Path) -> Iterator[Mapping[str, Tensor]]:
    """Give all tensors of a folder by name.

    Raises: ValueError when one is not of floating-point numbers.
    """
    with ExitStack() as stack:
        found: dict[str, Tensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            # Unbuffered: every read is a large one, straight to where it belongs.
            file = stack.enter_context(path.open("rb", buffering=0))
            found |= _tensors(file)
        yield found


def _tensors(file: FileIO) -> Iterator[tuple[str, Tensor]]:
    header, start = read_header(file)
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{name} is of {entry['dtype']}, which is none of {', '.join(DTYPES)}")
        yield name, Tensor(file, start + entry["data_offsets"][0], tuple(entry["shape"]), DTYPES[entry["dtype"]])
