"""The audit log's full files: how they are named and found, and which of them are too old to be kept.

The chain goes on over files. What is removed is named in the chain before it goes, with the hash of its last line: so
the chain can be checked from there on, and a file that somebody else removed is found.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from service.web.audit_chain import CURRENT, ROTATED, digest, rotated_name, seq_of
from service.web.audit_events import Facts, note

# What stands beside the chain: the log of a release without one, bytes put aside, and logs that a restore replaced.
BESIDE = re.compile(r"audit-(?:before-chain|stray-).*\.jsonl|audit.*\.jsonl\.before-restore-.*")
TAIL_BYTES = 1 << 16
DAY_S = 86_400


@dataclass(frozen=True)
class Old:
    """A file that may go, and the event that says so."""

    path: Path
    facts: Facts


def rotated(log: Path) -> list[Path]:
    """Return the full files of the chain, oldest first."""
    return sorted((path for path in log.iterdir() if ROTATED.fullmatch(path.name)), key=first_of)


def first_of(path: Path) -> int:
    """Return the number of a full file's first line, by its name."""
    found = ROTATED.fullmatch(path.name)
    assert found
    return int(found[2])


def rotate(log: Path, day: str, first: int) -> str:
    """Give the current file the name of a full one, and return it. Raises: OSError."""
    name = rotated_name(day, first)
    if os.path.lexists(log / name):  # a rename would put it out of the world
        raise FileExistsError(f"{log / name}: is there already")
    (log / CURRENT).rename(log / name)
    sync_folder(log)
    return name


def too_old(log: Path, retain_days: int) -> list[Old]:
    """Return what retention lets go of: the oldest files of the chain, and what stands beside it. 0 days keep all."""
    if not retain_days:
        return []
    limit = time.time() - retain_days * DAY_S
    return [*_old_files(log, limit), *_old_beside(log, limit)]


def _old_files(log: Path, limit: float) -> list[Old]:
    old = []
    for path in rotated(log):
        line = last_line(path)
        seq, at = seq_of(line), _time_of(line)
        if seq is None or at is None or at >= limit:
            break  # a file after one that stays stays too
        old.append(Old(path, note("audit_removed", file=path.name, last=seq, hash=digest(line))))
    return old


def _old_beside(log: Path, limit: float) -> list[Old]:
    paths = sorted(path for path in log.iterdir() if BESIDE.fullmatch(path.name) and path.lstat().st_mtime < limit)
    return [Old(path, note("audit_removed", **described(path))) for path in paths if path.is_file()]


def described(path: Path) -> dict[str, object]:
    """Return name, size and digest of a file."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
        return {"file": path.name, "bytes": file.tell(), "sha256": found.hexdigest()}


def last_line(path: Path) -> bytes:
    """Return the last whole line of a file, read from its end; b"" where there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        length = TAIL_BYTES
        while True:
            file.seek(max(size - length, 0))
            data = file.read(length)
            data = data[: data.rfind(b"\n") + 1]
            start = data.rfind(b"\n", 0, max(len(data) - 1, 0)) + 1
            if start or length >= size:
                return data[start:]
            length *= 4


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _time_of(line: bytes) -> float | None:
    try:
        return datetime.fromisoformat(json.loads(line)["at"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return None
