"""Tensors of a folder of safetensors: a name comes in, rows of a matrix come out as they are asked for.

Read and not mapped: pages of a mapped file count as the process's memory, and a second copy of the model would be
resident while it loads. What the files are was checked when the bundle was built, their bytes when it was installed.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any

import torch

from service.engine.header import read_header

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Tensor:
    """One tensor in a file; `start` is where its first byte is."""

    file: FileIO
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def rows(self, first: int, end: int) -> torch.Tensor:
        """Read some rows, in the file's own dtype. Raises: ValueError when the file ends before them."""
        found = torch.empty((max(0, min(end, self.shape[0]) - first), *self.shape[1:]), dtype=self.dtype)
        self.file.seek(self.start + first * prod(self.shape[1:]) * self.dtype.itemsize)
        data: Any = found.view(torch.uint8).numpy()
        if self.file.readinto(data) != found.nbytes:
            raise ValueError(f"{self.file.name}: ends before the tensor does")
        return found

    def all(self) -> torch.Tensor:
        """Read the whole of it."""
        return self.rows(0, self.shape[0])


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
