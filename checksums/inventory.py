"""inventory.json: which files a server holds, by digest and size; what a delta is built against.

Pure: bytes in, frozen values out, and back to canonical bytes. The file carries its own digest, which finds damage and
nothing else. It needs no trust: the server looks for itself whether it has what a delta leaves out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checksums.errors import HostError, IntegrityError
from checksums.manifest import MAX_NUMBER, MAX_SIZE_BYTES, NAME, SHA256, File

FORMAT = 1
MAX_BYTES = 16 << 20
FIELDS = {"files", "format", "release", "sequence", "sha256"}
HINT = "have it written again on the server: ferry inventory --out inventory.json"


@dataclass(frozen=True)
class Inventory:
    """What a server holds: its release and the highest sequence it took; `files` is SHA-256 -> size in bytes."""

    release: str
    sequence: int
    files: Mapping[str, int]

    @classmethod
    def parse(cls, data: bytes) -> "Inventory":
        """Read an inventory.

        Raises:
            HostError: its `format` is newer than this program knows.
            IntegrityError: it is none, or its content is not what its own digest says.
        """
        raw = _object(data)
        inventory = cls(raw["release"], raw["sequence"], raw["files"])
        _check(inventory)
        if inventory.sha256 != raw["sha256"]:
            raise IntegrityError("the inventory was changed on its way: it is not what its own digest says", HINT)
        return inventory

    @property
    def sha256(self) -> str:
        """Return the digest of all the rest, in its canonical form."""
        return hashlib.sha256(_rendered(self._content)).hexdigest()

    def render(self) -> bytes:
        """Return the file's bytes: sorted keys, one file a line, a final newline."""
        return _rendered({**self._content, "sha256": self.sha256})

    def has(self, file: File) -> bool:
        """Say whether the server holds a file with these bytes."""
        return self.files.get(file.sha256) == file.size

    @property
    def _content(self) -> dict[str, Any]:
        return {
            "files": dict(self.files),
            "format": FORMAT,
            "release": self.release,
            "sequence": self.sequence,
        }


def _object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise _bad(f"{len(data)} bytes are too many for it")
    try:
        raw = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _bad(f"not JSON: {str(error)[:200]}") from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if type(number) is int and number > FORMAT:
        raise HostError(
            f"the inventory's format {number} is newer than this program knows ({FORMAT})",
            "build with the Ferry that the server has, or with a newer one",
        )
    if not isinstance(raw, dict) or number != FORMAT or set(raw) != FIELDS:
        raise _bad(f"it is not an object of {', '.join(sorted(FIELDS))}")
    return raw


def _check(inventory: Inventory) -> None:
    release, sequence, files = inventory.release, inventory.sequence, inventory.files
    if not isinstance(release, str) or not NAME.fullmatch(release):
        raise _bad("release: not the name of one")
    if type(sequence) is not int or not 0 <= sequence <= MAX_NUMBER:
        raise _bad("sequence: a number that cannot be")
    if not isinstance(files, dict):
        raise _bad("files: not an object")
    for digest, size in files.items():
        if not SHA256.fullmatch(digest) or type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:
            raise _bad(f"files: {digest[:80]!r}: a digest or a size that cannot be")


def _rendered(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _bad(what: str) -> IntegrityError:
    return IntegrityError(f"this is no inventory of a Ferry server: {what}", HINT)
