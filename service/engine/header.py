"""The head of a safetensors file: what tensors it holds, and where. Needs no torch.

Format: https://huggingface.co/docs/safetensors#format.
"""

import json
import os
from collections.abc import Mapping
from io import FileIO
from typing import Any


def read_header(file: FileIO) -> tuple[Mapping[str, Any], int]:
    """Return name -> {dtype, shape, data_offsets}, and where the data begins that the offsets count from.

    Raises: ValueError when the file ends before its head.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > os.fstat(file.fileno()).st_size:
        raise ValueError(f"{file.name} is cut short")
    header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length
