"""Changes to the file system that are whole or not there, and that an `ExitStack` can take back.

New bytes are written beside their target, synced and moved over it. `Changes` records before each change how to
undo it; whoever owns the stack decides by `pop_all` that the changes stay.
"""

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from checksums.errors import FerryError

log = logging.getLogger(__name__)


def write(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def point(link: Path, target: str) -> None:
    """Make a symbolic link, or move an existing one to another target in one step."""
    beside = link.with_name(f".{link.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class Changes:
    """Makes changes and pushes the way back of each on `undo`."""

    def __init__(self, undo: ExitStack) -> None:
        self.undo = undo

    def back(self, undo: Callable[..., object], *arguments: object) -> None:
        """Put one more step on the way back; one that fails does not keep the others from being done."""
        self.undo.callback(_attempt, undo, *arguments)

    def folder(self, path: Path, mode: int = 0o755) -> None:
        """Make a folder with its parents; the way back removes those that were made, with their content."""
        if path.is_dir():
            return
        self.folder(path.parent)
        path.mkdir(mode=mode)
        path.chmod(mode)
        self.back(remove, path)

    def file(self, path: Path, data: bytes, mode: int = 0o644) -> None:
        """Write a file; the way back restores what stood there."""
        self.folder(path.parent)
        if path.is_file():
            self.back(write, path, path.read_bytes(), path.stat().st_mode & 0o777)
        else:
            self.back(remove, path)
        write(path, data, mode)

    def link(self, path: Path, target: str) -> None:
        """Point a symbolic link; the way back points it to where it pointed."""
        if path.is_symlink():
            self.back(point, path, str(path.readlink()))
        else:
            self.back(remove, path)
        point(path, target)

    def will_make(self, path: Path) -> None:
        """Say that another program is about to make `path`; the way back removes it if it was not there."""
        if not path.exists():
            self.back(remove, path)


def _attempt(undo: Callable[..., object], *arguments: object) -> None:
    try:
        undo(*arguments)
    except (OSError, FerryError) as error:
        log.warning("could not undo a step: %s", error)
