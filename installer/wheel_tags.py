"""Which wheels a server takes, by their file names (PEP 425, PEP 600): names and a host come in, misfits go out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

OLD_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
PLATFORM = re.compile(r"manylinux_(?P<major>\d+)_(?P<minor>\d+)_(?P<architecture>.+)")
OLD_PLATFORM = re.compile(r"(?P<name>manylinux(?:1|2010|2014))_(?P<architecture>.+)")


@dataclass(frozen=True)
class Host:
    """Python "3.11", "x86_64", and the version of glibc; () where there is none."""

    python: str
    architecture: str
    glibc: tuple[int, ...]


def misfits(files: Iterable[str], host: Host) -> list[str]:
    """Return, for each wheel that cannot be installed there, its name and what it wants."""
    return [f"{file.split('-')[0]} ({'-'.join(_tags(file))})" for file in files if not fits(file, host)]


def fits(file: str, host: Host) -> bool:
    """Say whether one of the tags in a wheel's name is the host's."""
    pythons, abis, platforms = (part.split(".") for part in _tags(file))
    return (
        any(_is_python(python, abi, host.python) for python in pythons for abi in abis)
        and any(_is_platform(platform, host) for platform in platforms)
    )  # fmt: skip


def glibc_of(files: Iterable[str]) -> str:
    """Return the oldest glibc that all of these take, "" where none of them cares."""
    wanted = [min(versions) for file in files if (versions := _glibcs(_tags(file)[2].split(".")))]
    return ".".join(map(str, max(wanted))) if wanted else ""


def _tags(file: str) -> Sequence[str]:
    words = file.removesuffix(".whl").split("-")
    return words[-3:] if len(words) >= 5 else ("?", "?", "?")


def _is_python(python: str, abi: str, host: str) -> bool:
    major, minor = host.split(".")
    own = f"cp{major}{minor}"
    if abi == "none":
        return python in {"py3", f"py{major}{minor}", own}
    if abi == "abi3":
        found = re.fullmatch(r"cp3(\d+)", python)
        return found is not None and int(found[1]) <= int(minor)
    return python == own and abi == own


def _is_platform(platform: str, host: Host) -> bool:
    if platform in {"any", f"linux_{host.architecture}"}:
        return True
    wanted = _platform(platform)
    return wanted is not None and wanted[1] == host.architecture and host.glibc >= wanted[0]


def _platform(platform: str) -> tuple[tuple[int, int], str] | None:
    if found := PLATFORM.fullmatch(platform):
        return (int(found["major"]), int(found["minor"])), found["architecture"]
    if found := OLD_PLATFORM.fullmatch(platform):
        return OLD_NAMES[found["name"]], found["architecture"]
    return None


def _glibcs(platforms: Iterable[str]) -> list[tuple[int, int]]:
    return [found[0] for platform in platforms if (found := _platform(platform))]
