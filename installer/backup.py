"""Everything of an installation that no bundle brings back, as one file: settings, data, audit log.

Places come in, a `Backup` goes out. The database is copied by the release's own Python, as the service's user, whole
while the service writes; all the rest is read where it stands, and a file that changes meanwhile ends the backup.
Folders that the service owns are walked without following a link: whoever took over the service must not choose what
root reads.
"""

import errno
import os
import pwd
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from checksums import signature
from checksums.errors import HostError, UsageError
from checksums.manifest import TIME_FORMAT
from checksums.new_file import NewFile
from installer import admin, backup_file, lock, transaction
from installer.backup_list import (
    ADMINISTRATOR,
    AUDIT,
    CONFIGURATION,
    DATA,
    LOG,
    SERVICE,
    Description,
    Entry,
    in_order,
    is_carried,
)
from installer.journal import sync_folder
from installer.places import Places
from installer.progress import Progress
from installer.state import State

COPY_TIMEOUT_S = 3600
# What `copy` of the release names its folder by.
COPY_PREFIX = ".backup-"
HEAD_BYTES = 1 << 20
# The tar header and the padding of a file.
FRAME_BYTES = 1024


@dataclass(frozen=True)
class Source:
    """One file to carry: its entry, and where it is read, a path below a folder."""

    entry: Entry
    folder: Path
    inside: str


@dataclass(frozen=True)
class Backup:
    """What was written, or would be: `left_out` are what no backup carries (links, odd names); `trusting` is the line
    of an allowed_signers file that trusts the key it was signed with."""

    file: Path
    description: Description
    left_out: tuple[str, ...]
    size_bytes: int
    trusting: str = ""


def default_file(current: State, at: float) -> Path:
    """Return what a backup is called where nobody says."""
    return Path(f"ferry-backup-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(at))}-{current.version}.tar")


def make(places: Places, current: State, file: Path, key: Path | None, dry_run: bool, progress: Progress) -> Backup:
    """Write a backup, whole or not at all; mode 0600. With `dry_run` only say what would be in it.

    Raises:
        UsageError: `file` cannot be written, or `key` cannot sign.
        HostError: the disk is too full.
        FerryError: something else is changing the installation, or a file changed meanwhile.
    """
    _demand_place(file, places)
    if key:
        signature.demand_file(key)
    if not dry_run:
        transaction.recover(places, progress)
    with lock.exclusive(places.prefix), _copied(places, dry_run) as copied:
        sources, left_out = _collect(places, copied)
        created = time.strftime(TIME_FORMAT, time.gmtime())
        entries = in_order([source.entry for source in sources])
        description = Description(
            created, current.release, current.version, copied["revision"], places.mode, copied["outside"], entries
        )
        size_bytes = sum(entry.size + FRAME_BYTES for entry in entries)
        if dry_run:
            return Backup(file, description, left_out, size_bytes)
        _demand_room(file, size_bytes)
        signed = _write(file, description, {source.entry.path: source for source in sources}, key, progress)
    trusting = backup_file.trusting_line(signed) if signed else ""
    return Backup(file, description, left_out, file.stat().st_size, trusting)


def _demand_place(file: Path, places: Places) -> None:
    folder = file.absolute().parent
    hint = "name a file in another folder: ferry backup FILE"
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UsageError(f"{file}: is there and is no file", hint)
    for part in (places.etc, places.data, places.log):
        if folder.resolve().is_relative_to(part.resolve()):
            raise UsageError(f"{file}: below {part}, which the backup holds", hint)


def _demand_room(file: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(file.absolute().parent).free
    if free < size_bytes + HEAD_BYTES:
        raise HostError(
            f"{file}: needs {size_bytes:,} bytes, and {free:,} are free there", "name a file on another disk"
        )


@contextmanager
def _copied(places: Places, dry_run: bool) -> Iterator[dict[str, Any]]:
    """Let the release copy its database; the copy is gone afterwards."""
    made = admin.ask(places, "copy", *(["--dry-run"] if dry_run else []), timeout_s=COPY_TIMEOUT_S)
    try:
        yield made
    finally:
        if made["folder"]:
            shutil.rmtree(made["folder"], ignore_errors=True)


def _collect(places: Places, copied: Mapping[str, Any]) -> tuple[list[Source], tuple[str, ...]]:
    """Return every file to carry, and the names of what cannot be."""
    sources: list[Source] = []
    left_out: list[str] = []
    moved = {name: f"{Path(copied['folder']).name}/{name}" for name in copied["files"]}
    for part, folder in ((CONFIGURATION, places.etc), (DATA, places.data), (LOG, places.log)):
        for inside in _walk(folder):
            path = part + inside
            if part == DATA and _is_left(inside, copied["leave"]):
                continue
            if part == LOG and not path.startswith(AUDIT):
                continue
            source = _source(path, folder, moved.get(inside, inside) if part == DATA else inside, places)
            if source is None:
                left_out.append(path)
            else:
                sources.append(source)
    return sources, tuple(left_out)


def _is_left(inside: str, leave: Sequence[str]) -> bool:
    """Say whether a file of the data folder is not carried: by its name, or by its folder, which ends in /."""
    folders = tuple(name for name in leave if name.endswith("/"))
    return inside in leave or inside.startswith((COPY_PREFIX, *folders))


def _source(path: str, folder: Path, inside: str, places: Places) -> Source | None:
    if not is_carried(path):
        return None
    try:
        with open_below(folder, inside) as file:
            found = os.fstat(file.fileno())
    except OSError as error:
        # A link, a socket, or what is gone meanwhile. A disk that fails is another matter.
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.ENOENT}:
            return None
        raise
    if not stat.S_ISREG(found.st_mode):
        return None
    is_service = not path.startswith(CONFIGURATION)
    if not places.is_user:
        is_service = found.st_uid == pwd.getpwnam(admin.USER).pw_uid
    owner = SERVICE if is_service else ADMINISTRATOR
    return Source(Entry(path, found.st_size, f"{found.st_mode & 0o777:04o}", owner), folder, inside)


def _walk(folder: Path) -> Iterator[str]:
    """Yield the path of everything below a folder that is no folder."""

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names, descriptor in os.fwalk(folder, onerror=fail):
        inside = Path(place).relative_to(folder)
        kinds = ((name, os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode) for name in folders)
        links = [name for name, mode in kinds if stat.S_ISLNK(mode)]
        yield from (str(inside / name) for name in [*names, *links])


def open_below(folder: Path, inside: str) -> BinaryIO:
    """Open a file below a folder for reading, through no link and without waiting for a pipe."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *parts, name = inside.split("/")
        for part in parts:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            below = os.open(part, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return cast(BinaryIO, os.fdopen(os.open(name, flags, dir_fd=descriptor), "rb", buffering=0))
    finally:
        os.close(descriptor)


def _write(
    file: Path, description: Description, sources: Mapping[str, Source], key: Path | None, progress: Progress
) -> bytes:
    beside = file.with_name(f".{file.name}.new")
    beside.unlink(missing_ok=True)
    total = 2 * sum(entry.size for entry in description.files)

    def opened(entry: Entry) -> BinaryIO:
        source = sources[entry.path]
        return open_below(source.folder, source.inside)

    try:
        with NewFile(beside, 0o600) as stream, progress.bar("writing the backup", total) as on_bytes:
            signed = backup_file.write(cast(BinaryIO, stream), description, opened, key, on_bytes)
            stream.sync()
        beside.replace(file)
        sync_folder(file.absolute().parent)
        return signed
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
