"""Changes to the file system that are whole or not there, and that a journal can take back.

New bytes are written beside their target, forced to the disk and moved over it. `Changes` writes down how to take each
change back before it is made; what stood in a folder's place is moved aside and goes only with the commit.
"""

import base64
import os
import shutil
from pathlib import Path
from typing import Any

from installer.journal import Journal, sync_folder


def write(path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Write a file so that it is there whole or not at all; `owner` is user and group by number."""
    beside = _beside(path)
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        if owner:
            os.fchown(descriptor, *owner)
        os.fchmod(descriptor, mode)
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        os.close(descriptor)
        descriptor = -1
        beside.replace(path)
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make a symbolic link, or move an existing one to another target in one step."""
    beside = _beside(link)
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
    sync_folder(link.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it, and what a kill left beside it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
        _beside(path).unlink(missing_ok=True)


def aside(path: Path) -> Path:
    """Return where what stands at `path` waits for the commit."""
    return path.with_name(f".{path.name}.old")


def move_back(path: Path) -> None:
    """Put what waits aside back in its place."""
    if os.path.lexists(aside(path)):
        remove(path)
        aside(path).rename(path)
        sync_folder(path.parent)


def restore(path: Path, mode: int, user: int, group: int, data: str) -> None:
    """Write a file as it was; `data` is base64."""
    write(path, base64.b64decode(data), mode, (user, group))


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


class Changes:
    """Makes changes, and writes the way back of each into a journal before it is made."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def undo(self, name: str, *arguments: Any) -> None:
        """Put one more step on the way back, by its name in installer/undo.py."""
        self.journal.undo(name, *arguments)

    def finish(self, name: str, *arguments: Any) -> None:
        """Put a step behind the commit, by its name in installer/undo.py."""
        self.journal.finish(name, *arguments)

    def folder(self, path: Path, mode: int = 0o755) -> None:
        """Make a folder with its parents; the way back removes those that were made, with their content."""
        if path.is_dir():
            return
        self.folder(path.parent)
        self.undo("remove", str(path))
        path.mkdir(mode=mode)
        path.chmod(mode)

    def file(self, path: Path, data: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
        """Write a file; the way back restores what stood there."""
        self.folder(path.parent)
        if path.is_file():
            was = path.stat()
            content = base64.b64encode(path.read_bytes()).decode()
            self.undo("restore", str(path), was.st_mode & 0o777, was.st_uid, was.st_gid, content)
        else:
            self.undo("remove", str(path))
        write(path, data, mode, owner)

    def link(self, path: Path, target: str) -> None:
        """Point a symbolic link; the way back points it to where it pointed."""
        if path.is_symlink():
            self.undo("point", str(path), str(path.readlink()))
        else:
            self.undo("remove", str(path))
        point(path, target)

    def replace(self, staged: Path, place: Path) -> None:
        """Move a staged file or folder of the same file system to its place; what stood there waits for the commit."""
        if os.path.lexists(place):
            self.remove(place)
        else:
            self.undo("remove", str(place))
        staged.rename(place)
        sync_folder(place.parent)

    def remove(self, path: Path) -> None:
        """Move what stands there aside, if anything does; it goes with the commit."""
        if not os.path.lexists(path):
            return
        if os.path.lexists(aside(path)):
            # What stood there first waits already; this is of the same change.
            remove(path)
            return
        self.undo("move-back", str(path))
        self.finish("remove", str(aside(path)))
        path.rename(aside(path))
        sync_folder(path.parent)

    def will_make(self, path: Path) -> None:
        """Say that another program is about to make `path`; the way back removes it if it was not there."""
        if not path.exists():
            self.undo("remove", str(path))
