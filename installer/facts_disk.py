"""Looks at the file systems below the places of an installation: room, mount options, kinds. Writes nothing."""

import grp
import os
import re
import stat
import tempfile
from pathlib import Path

from checksums.manifest import Manifest
from installer import context_memory, environment, units
from installer.facts import Room, Volume, Volumes, attempt
from installer.places import Places
from installer.settings import GROUP

MOUNTS = Path("/proc/self/mountinfo")


def volumes(places: Places) -> Volumes:
    """Look at every place for itself."""
    return Volumes(
        prefix=attempt(lambda: volume(places.prefix)),
        data=attempt(lambda: volume(places.data)),
        log=attempt(lambda: volume(places.log)),
        cache=attempt(lambda: volume(places.cache)),
        etc=attempt(lambda: volume(places.etc)),
        units=attempt(lambda: volume(units.SYSTEM)),
        command=attempt(lambda: volume(places.wrapper.parent)),
        run=attempt(lambda: volume(places.run)),
        temporary=attempt(lambda: volume(Path(tempfile.gettempdir()))),
    )


def volume(path: Path) -> Volume:
    """Look at the file system that a path is on, or will be."""
    folder = existing(path)
    space = os.statvfs(folder)
    kind, options = mount_of(folder.resolve(), MOUNTS.read_text())
    return Volume(
        folder=folder,
        real=folder.resolve(),
        device=folder.stat().st_dev,
        kind=kind,
        options=options,
        free_bytes=space.f_bavail * space.f_frsize,
        # File systems that make them as they need them say 0 of 0.
        free_inodes=space.f_favail if space.f_files else None,
        is_writable=os.access(folder, os.W_OK | os.X_OK),
        is_case_blind=_is_case_blind(folder),
        is_open=all(map(_is_open, (folder.resolve(), *folder.resolve().parents))),
    )


def existing(path: Path) -> Path:
    """Return the nearest folder that exists on the way up from `path`."""
    return next(folder for folder in [path, *path.parents] if folder.is_dir())


def mount_of(path: Path, mountinfo: str) -> tuple[str, frozenset[str]]:
    """Return kind and options of the mount that a resolved path is on (proc(5))."""
    best, found = -1, ("", frozenset[str]())
    for line in mountinfo.splitlines():
        own, _, theirs = line.partition(" - ")
        words, rest = own.split(), theirs.split(" ")
        point = Path(_unescaped(words[4]))
        # The last of several on one point is the one that is seen.
        if path.is_relative_to(point) and len(point.parts) >= best:
            best = len(point.parts)
            found = (rest[0], frozenset(words[5].split(",")) | ({"ro"} & set(rest[2].split(","))))
    return found


def room(manifest: Manifest, places: Places, python: Path) -> Room:
    """Return what a release brings that this server does not hold."""
    wheels = {wheel.file for wheel in manifest.wheels}
    return Room(
        payload_bytes=sum(file.size for file in manifest.files if not places.stored(file.sha256).is_file()),
        wheel_bytes=sum(file.size for file in manifest.files if file.path in wheels),
        has_environment=(places.venvs / environment.digest_of(manifest, python)).is_dir(),
        data_bytes=size_of(places.data),
        context_bytes=context_memory.extra_bytes(places),
    )


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder, as far as they can be seen."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118  # os.walk's own words
            except OSError:
                continue
    return total


def _is_open(folder: Path) -> bool:
    """Say whether everybody may pass through a folder, or the service's group, where there is one already."""
    found = folder.stat()
    return bool(found.st_mode & stat.S_IXOTH or (found.st_mode & stat.S_IXGRP and _group(found.st_gid) == GROUP))


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return ""


def _is_case_blind(folder: Path) -> bool:
    other = folder.with_name(folder.name.swapcase())
    return other != folder and other.exists() and other.samefile(folder)


def _unescaped(text: str) -> str:
    """Undo the kernel's octal way to write blanks."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
