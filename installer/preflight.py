"""Can this host run the bundle? A manifest and a host come in, named checks go out, all of them at once.

Each check says what was found, what is needed and how to mend it. Nothing is changed here.
"""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from checksums.errors import HostError
from checksums.manifest import Manifest
from installer import network, units
from installer.places import Places

GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    """One finding; `hint` is what mends it."""

    name: str
    ok: bool
    found: str
    needed: str
    hint: str


@dataclass(frozen=True)
class Subject:
    """What is examined: a bundle for a place; `listen` is None where Ferry itself holds the port already.

    `is_carried` says that the release will run on the interpreter that came with it.
    """

    manifest: Manifest
    places: Places
    listen: str | None
    new_bytes: int
    is_carried: bool = False


def examine(subject: Subject) -> list[Check]:
    """Run every check."""
    return [*_rights(subject), *_machine(subject), *_room(subject), *_listening(subject)]


def demand(checks: list[Check]) -> None:
    """Raise HostError that names every check that failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        lines = (f"{check.name}: found {check.found}, needed {check.needed}" for check in failed)
        raise HostError("\n".join(["this server cannot run it:", *lines]), "; ".join(check.hint for check in failed))


def existing(path: Path) -> Path:
    """Return the nearest folder that exists on the way up from `path`."""
    return next(folder for folder in [path, *path.parents] if folder.is_dir())


def _rights(subject: Subject) -> Iterator[Check]:
    places = subject.places
    if places.is_user:
        folder = existing(places.prefix)
        found = "writable" if os.access(folder, os.W_OK) else f"{folder} is not writable"
        yield Check("prefix", found == "writable", found, "a folder of yours", "choose another --prefix")
        return
    root = os.geteuid() == 0
    who = "root" if root else f"user id {os.geteuid()}"
    yield Check("root", root, who, "root", "run it with sudo, or add --user-mode")
    systemd = Path("/run/systemd/system").is_dir()
    yield Check("systemd", systemd, "running" if systemd else "not running", "running", "or add --user-mode")
    unit = units.SYSTEM / units.UNITS[0]
    other = units.prefix_of(unit.read_text()) if unit.is_file() else None
    alone = other in {None, str(places.prefix)}
    yield Check("other installation", alone, other or "none", "none", f"uninstall it first, or: --prefix {other}")
    plain = re.fullmatch(r"[A-Za-z0-9/._+@ -]+", str(places.prefix)) is not None
    yield Check("prefix", plain, str(places.prefix), "letters, digits and ._+@- only", "choose another --prefix")


def _machine(subject: Subject) -> Iterator[Check]:
    target = subject.manifest.target
    found = platform.machine()
    yield Check("architecture", found == target.platform, found, target.platform, f"get a bundle built for {found}")
    glibc = _glibc()
    enough = _numbers(glibc) >= _numbers(target.glibc)
    yield Check("glibc", enough, glibc or "none", f"{target.glibc} or newer", "get a bundle built for an older system")
    python = subject.manifest.python.version if subject.is_carried else ".".join(map(str, sys.version_info[:3]))
    fits = python.split(".")[:2] == target.python.split(".")
    hint = f"name one with --python: Python {target.python}"
    yield Check("python", fits, f"{python}{', carried' if subject.is_carried else ''}", target.python, hint)
    tool = shutil.which("ssh-keygen")
    yield Check("ssh-keygen", tool is not None, tool or "none", "any", "install openssh-client")


def _room(subject: Subject) -> Iterator[Check]:
    requires = subject.manifest.requires
    folder = existing(subject.places.prefix)
    free = shutil.disk_usage(folder).free
    needed = subject.new_bytes
    yield Check("disk", free >= needed, f"{_gib(free)} free in {folder}", _gib(needed), f"free some space in {folder}")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    enough = memory >= requires.ram_bytes
    yield Check("memory", enough, _gib(memory), _gib(requires.ram_bytes), "take a smaller model or a larger server")


def _listening(subject: Subject) -> Iterator[Check]:
    if subject.listen is None:
        return
    busy = network.why_busy(subject.listen)
    hint = "stop what listens there, or choose another address: --listen ADDRESS:PORT"
    yield Check("listen", not busy, f"{subject.listen}: {busy or 'free'}", "a free address", hint)


def _glibc() -> str:
    """Return the version of the C library, "" where it is not glibc."""
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except (ValueError, OSError):
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
