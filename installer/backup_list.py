"""backup.json: what a backup holds and where it comes from. Pure: bytes in, frozen values out, and back to those bytes.

Owners are words, so that a backup is right on a server with other numbers, and in the other mode: "service" is who
runs the web, "administrator" who runs `ferry`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from checksums.errors import HostError, IntegrityError
from checksums.layout import safe_path
from checksums.manifest import MAX_SIZE_BYTES, NAME, TIME, TIME_FORMAT

DESCRIPTION = "backup.json"
FORMAT = 1
SERVICE, ADMINISTRATOR = "service", "administrator"
CONFIGURATION, DATA, LOG = "etc/", "data/", "log/"
# Of the log folder the audit log alone; user mode has its processes' output there too.
AUDIT = f"{LOG}audit"
PLACE = re.compile(f"(?:{CONFIGURATION}|{DATA}|{AUDIT}[^/]*$).*")
FILE_MODE = re.compile(r"0[0-7]{3}")
REVISION = re.compile(r"[A-Za-z0-9_]{1,64}")
FIELDS = {"created", "files", "format", "mode", "outside", "release", "revision", "version"}
ENTRY_FIELDS = {"mode", "owner", "path", "size"}
HINT = "this is no backup of Ferry's, or it is damaged: take another copy; nothing was changed"


@dataclass(frozen=True)
class Entry:
    """One file: where it belongs (below etc/, data/ or log/), its size in bytes, its mode as octal text, its owner."""

    path: str
    size: int
    mode: str
    owner: str


@dataclass(frozen=True)
class Description:
    """What a backup says of itself; `revision` is the database's, None where there was no database yet.

    `outside` names the database server that holds accounts and conversations, "" where the backup does.
    """

    created: str
    release: str
    version: str
    revision: str | None
    mode: str
    outside: str
    files: tuple[Entry, ...]

    @classmethod
    def parse(cls, data: bytes) -> "Description":
        """Read backup.json.

        Raises:
            HostError: its format is newer than this program knows.
            IntegrityError: it is anything but what `render` writes; the message names the field.
        """
        raw = _object(data)
        entries = [_entry(item) for item in raw["files"]]
        del raw["format"]
        description = cls(**{**raw, "files": tuple(entries)})
        _check(description)
        if description.render() != data:
            raise _bad("not in the form that Ferry writes")
        return description

    def render(self) -> bytes:
        """Return the canonical bytes: sorted keys, one value a line, a final newline."""
        return (json.dumps({**asdict(self), "format": FORMAT}, indent=1, sort_keys=True) + "\n").encode()

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(entry.size for entry in self.files)

    def below(self, folder: str) -> list[Entry]:
        """Return the files that belong below etc/, data/ or log/."""
        return [entry for entry in self.files if entry.path.startswith(folder)]


def in_order(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return entries as a backup holds them: by the bytes of the path."""
    return tuple(sorted(entries, key=lambda entry: entry.path.encode()))


def is_carried(path: str) -> bool:
    """Say whether a path may stand in a backup."""
    try:
        return bool(PLACE.fullmatch(safe_path(path)))
    except IntegrityError:
        return False


def _object(data: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad(f"not JSON: {str(error)[:200]}") from error
    number = raw.get("format") if isinstance(raw, dict) else None
    if type(number) is int and number > FORMAT:
        raise HostError(
            f"{DESCRIPTION}: format {str(number)[:20]} is newer than this release knows ({FORMAT})",
            "upgrade first: ferry upgrade BUNDLE",
        )
    if not isinstance(raw, dict) or number != FORMAT or set(raw) != FIELDS or not isinstance(raw["files"], list):
        raise _bad(f"not an object of {', '.join(sorted(FIELDS))}")
    return raw


def _entry(raw: Any) -> Entry:
    if not isinstance(raw, dict) or set(raw) != ENTRY_FIELDS:
        raise _bad(f"files: an item is no object of {', '.join(sorted(ENTRY_FIELDS))}")
    entry = Entry(**raw)
    if not isinstance(entry.path, str) or not is_carried(entry.path):
        raise _bad(f"files: {str(entry.path)[:80]!r}: not a path that a backup may carry")
    if type(entry.size) is not int or not 0 <= entry.size <= MAX_SIZE_BYTES:
        raise _bad(f"files: {entry.path}: a size that cannot be")
    if not isinstance(entry.mode, str) or not FILE_MODE.fullmatch(entry.mode):
        raise _bad(f"files: {entry.path}: a mode that cannot be")
    if entry.owner not in (SERVICE, ADMINISTRATOR):
        raise _bad(f"files: {entry.path}: an owner that cannot be")
    return entry


def _check(description: Description) -> None:
    for field in ("created", "release", "version", "mode", "outside"):
        if not isinstance(getattr(description, field), str):
            raise _bad(f"{field}: not a text")
    if not _is_time(description.created):
        raise _bad("created: no time")
    if not NAME.fullmatch(description.release) or not NAME.fullmatch(description.version):
        raise _bad("release, version: not a name")
    if description.mode not in ("root", "user") or not description.outside.isprintable():
        raise _bad("mode, outside: cannot be")
    revision = description.revision
    if revision is not None and (not isinstance(revision, str) or not REVISION.fullmatch(revision)):
        raise _bad("revision: cannot be")
    paths = [entry.path for entry in description.files]
    if paths != sorted(set(paths), key=str.encode):
        raise _bad("files: a path occurs twice or out of order")
    there = set(paths)
    for path in paths:
        if shadowed := [path[:at] for at, letter in enumerate(path) if letter == "/" and path[:at] in there]:
            raise _bad(f"files: {shadowed[0]} is a file and the folder of {path}")


def _is_time(text: str) -> bool:
    try:
        return bool(TIME.fullmatch(text) and datetime.strptime(text, TIME_FORMAT))
    except ValueError:
        return False


def _bad(what: str) -> IntegrityError:
    return IntegrityError(f"{DESCRIPTION}: {what}", HINT)
