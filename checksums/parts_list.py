"""X.tar.parts.json: how many parts a bundle was cut into, their sizes and digests. Pure.

It is signed by nobody, and so it can only say which part is damaged, never that a bundle is good. The names in it are
not used: they follow from the bundle's.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from checksums.errors import IntegrityError
from checksums.manifest import MAX_SIZE_BYTES, SHA256

FORMAT = 1
MAX_PARTS = 999
MAX_BYTES = 1 << 20
SUFFIX = ".parts.json"
BUNDLE = re.compile(r"[^/\x00-\x1f\x7f]{1,200}\.tar")
HINT = "copy it again, or remove it: then the signed list of digests alone decides"


@dataclass(frozen=True)
class Listed:
    """What the list says of one part: its size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class PartsList:
    """The bundle's file name and its parts in order."""

    bundle: str
    parts: tuple[Listed, ...]

    @classmethod
    def parse(cls, data: bytes, name: str) -> "PartsList":
        """Read a list; `name` is the file's, for the message.

        Raises:
            IntegrityError: it is no list of parts, or one that cannot be.
        """
        try:
            if len(data) > MAX_BYTES:
                raise ValueError("too large")
            raw = json.loads(data)
            _check(raw)
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise IntegrityError(f"{name}: not a list of a bundle's parts", HINT) from error
        return cls(raw["bundle"], tuple(Listed(part["size"], part["sha256"]) for part in raw["parts"]))

    def render(self) -> bytes:
        """Return the file's bytes, one part a line: install.sh reads it too."""
        lines = [
            json.dumps({"name": part_name(self.bundle, number), "sha256": part.sha256, "size": part.size})
            for number, part in enumerate(self.parts, 1)
        ]
        head = f'{{\n "bundle": {json.dumps(self.bundle)},\n "format": {FORMAT},\n "parts": [\n  '
        tail = f'\n ],\n "size": {sum(part.size for part in self.parts)}\n}}\n'
        return (head + ",\n  ".join(lines) + tail).encode()


def part_name(bundle: str, number: int) -> str:
    """Return the name of the n-th part, counted from 1."""
    return f"{bundle}.{number:03}"


def _check(raw: Any) -> None:
    """ValueError, KeyError or TypeError for anything that `render` would not write."""
    bundle, parts = raw["bundle"], raw["parts"]
    if raw["format"] != FORMAT or not isinstance(bundle, str) or not BUNDLE.fullmatch(bundle):
        raise ValueError("format or bundle")
    if not isinstance(parts, list) or not 1 <= len(parts) <= MAX_PARTS:
        raise ValueError("parts")
    for number, part in enumerate(parts, 1):
        if part["name"] != part_name(bundle, number) or not SHA256.fullmatch(part["sha256"]):
            raise ValueError(number)
        if type(part["size"]) is not int or not 0 < part["size"] <= MAX_SIZE_BYTES:
            raise ValueError(number)
    if raw["size"] != sum(part["size"] for part in parts):
        raise ValueError("size")
