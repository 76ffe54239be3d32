"""A small bundle cut into parts, in a folder that a test may break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import small_bundle
from small_bundle import Recipe

from bundle import media
from bundle.progress import Progress

QUIET = Progress(quiet=True)
PART_BYTES = 20_000
MODEL = bytes(range(256)) * 300


class Set:
    """The whole bundle, its parts in order, and their list."""

    def __init__(self, folder: Path) -> None:
        recipe = Recipe(is_installable=False, more={"payload/model/more.safetensors": MODEL})
        self.bundle = small_bundle.make(folder / "whole", recipe)
        self.folder = folder / "parts"
        *self.parts, self.list = media.split(self.bundle, PART_BYTES, self.folder, QUIET)

    def part(self, number: int) -> Path:
        return self.parts[number - 1]

    def change_list(self, **values: Any) -> None:
        self.list.write_text(json.dumps(json.loads(self.list.read_text()) | values))

    def change_listed(self, number: int, **values: Any) -> None:
        listed = json.loads(self.list.read_text())["parts"]
        listed[number - 1] |= values
        self.change_list(parts=listed)


def flip(path: Path, at: int = 10_000) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
