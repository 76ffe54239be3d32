"""The audit log only grows: a backup's lines and this server's come in, and every line of both is there afterwards.

Where one of two files begins with the other, the longer one says all. Where they differ, the backup's goes on, since
accounts and conversations are those of its story, and this server's is kept beside it under a name of its own.
"""

import os
import time
from pathlib import Path

from checksums.hashing import CHUNK_BYTES
from installer.backup import open_below
from installer.files import Changes


def merge(restored: Path, folder: Path, created: str, changes: Changes) -> list[str]:
    """Put the files of one folder into another, neither losing a line; return what the operator has to know."""
    notes = []
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for path in sorted(path for path in restored.iterdir() if path.is_file()):
        place = folder / path.name
        if os.path.lexists(place):
            if _begins(folder, path.name, restored, path.name):
                # This server's has all that the backup has, and more.
                continue
            if not _begins(restored, path.name, folder, path.name):
                kept = folder / f"{path.name}.before-restore-{at}"
                _keep(place, restored / kept.name, kept, changes)
                notes.append(f"the audit log of this server differs from the backup's of {created}; it is in {kept}")
        changes.replace(path, place)
    return notes


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
