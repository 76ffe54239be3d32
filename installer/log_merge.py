"""The audit log only grows: a backup's lines and this server's come in, and every line of both is there afterwards.

The log is a chain over files: the full ones (audit-DAY-NUMBER.jsonl), oldest first, and then audit.jsonl. Each line
commits to all before it, so that one log goes on with another when it has a file that begins with the other's last one.
The longer one then says all, and stays or is put. Where the two differ, the backup's goes on, since accounts and
conversations are those of its story, and this server's is kept beside it under names of its own.
"""

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from checksums.hashing import CHUNK_BYTES
from installer.backup import open_below
from installer.files import Changes

CURRENT = "audit.jsonl"
FULL = re.compile(r"audit-[0-9]{8}-([0-9]{12,})\.jsonl")
# What the service's log is called from its first start with a chain on.
BEFORE = "audit-before-chain.jsonl"
MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True)
class Merged:
    """What the operator has to know, and whether the log is another one now than this server's was."""

    notes: tuple[str, ...] = ()
    is_other: bool = True


def merge(restored: Path, folder: Path, created: str, changes: Changes) -> Merged:
    """Put a backup's log, which lies in a folder inside, in the place of this server's; neither loses a line."""
    here, theirs = _chain(folder), _chain(restored)
    beside = sorted(path for path in restored.iterdir() if path.is_file() and path.name not in theirs)
    notes = []
    is_kept = bool(here) and _goes_on(folder, here, restored, theirs)
    if here and not is_kept and not _goes_on(restored, theirs, folder, here):
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for name in here:
            _keep(folder / name, restored / f"{name}.kept", folder / f"{name}.before-restore-{at}", changes)
        where = f"{folder / here[-1]}.before-restore-{at}{' and beside it' if len(here) > 1 else ''}"
        notes.append(f"the audit log of this server differs from the backup's of {created}; it is in {where}")
    if not is_kept:
        _put(restored, theirs, folder, here, changes)
    for path in beside:
        if not os.path.lexists(folder / path.name):
            changes.replace(path, folder / path.name)
    return Merged(tuple(notes), not is_kept)


def _chain(folder: Path) -> list[str]:
    """Return the names of the chain's files, oldest first."""
    full = sorted((int(found[1]), found[0]) for path in folder.iterdir() if (found := FULL.fullmatch(path.name)))
    current = [CURRENT] if os.path.lexists(folder / CURRENT) else []
    return [*(name for _, name in full), *current]


def _goes_on(folder: Path, names: list[str], other: Path, others: list[str]) -> bool:
    """Say whether a log has all of another one."""
    return not others or any(_begins(folder, name, other, others[-1]) for name in reversed(names))


def _put(restored: Path, theirs: list[str], folder: Path, here: list[str], changes: Changes) -> None:
    for name in here:
        if name not in theirs:
            changes.remove(folder / name)
    for name in theirs:
        changes.replace(restored / name, folder / name)
    # The service gives the file these names when it goes on with it; on the way back they have to go.
    for name in (_full_name(folder), BEFORE):
        if name and name not in theirs:
            changes.will_make(folder / name)


def _full_name(folder: Path) -> str:
    """Return what the current file will be called when it is full, by its first line."""
    try:
        with open_below(folder, CURRENT) as file:
            found = json.loads(file.read(MAX_LINE_BYTES).split(b"\n")[0])
        return f"audit-{str(found['at'])[:10].replace('-', '')}-{int(found['seq']):012d}.jsonl"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _begins(folder: Path, name: str, other: Path, other_name: str) -> bool:
    """Say whether a file begins with all of another one."""
    try:
        with open_below(folder, name) as long, open_below(other, other_name) as short:
            while piece := short.read(CHUNK_BYTES):
                if long.read(len(piece)) != piece:
                    return False
    except OSError:
        # A link, or what cannot be read: it is kept, unread.
        return False
    return True


def _keep(place: Path, twin: Path, kept: Path, changes: Changes) -> None:
    """Let a file stay under another name, while its own is about to be taken."""
    os.link(place, twin, follow_symlinks=False)
    changes.replace(twin, kept)
