"""What a bundle is made for: the tags, platforms and names that pip, uv and the locks use for a target.

Pure: every answer is computed from the target, never from the host that builds. Tags: packaging.python.org, "Platform
compatibility tags"; manylinux_2_N and its older names: PEP 600.
"""

import platform
import sys
from collections.abc import Iterable
from dataclasses import replace

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from checksums.errors import UsageError
from checksums.manifest import Target

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = ("x86_64", "aarch64")
# The levels that uv resolves for; below 2.28 there is no torch.
GLIBCS = ("2.28", "2.31", "2.32", "2.33", "2.34", "2.35", "2.36", "2.37", "2.38", "2.39", "2.40")
OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
OLDEST_MINOR = {"x86_64": 5, "aarch64": 17}


def make_target(python: str, machine: str, glibc: str) -> Target:
    """Return a target; the word "this" stands for the Python or the machine that runs now.

    Raises:
        UsageError: Ferry makes no bundles for it; the message lists what it does.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    target = Target(here if python == "this" else python, platform.machine() if machine == "this" else machine, glibc)
    _allowed("python", target.python, PYTHONS)
    _allowed("platform", target.platform, PLATFORMS)
    _allowed("glibc", target.glibc, GLIBCS)
    return target


def _allowed(key: str, value: str, values: Iterable[str]) -> None:
    if value not in values:
        raise UsageError(f"target {key} {value!r}: no bundle can be made for it", f"allowed: {', '.join(values)}")


def abi(target: Target) -> str:
    """Return CPython's ABI tag, for example cp311."""
    return "cp" + target.python.replace(".", "")


def lock_name(target: Target) -> str:
    """Return the file name of a target's lock, for example cp311-x86_64-glibc2.28.txt."""
    return f"{abi(target)}-{target.platform}-glibc{target.glibc}.txt"


def lock_names(target: Target) -> list[str]:
    """Return the locks that may do for a target: its own, those for an older glibc, those for a newer one."""
    place = GLIBCS.index(target.glibc)
    glibcs = [target.glibc, *reversed(GLIBCS[:place]), *GLIBCS[place + 1 :]]
    return [lock_name(replace(target, glibc=glibc)) for glibc in glibcs]


def uv_platform(target: Target) -> str:
    """Return what uv calls the platform, for example x86_64-manylinux_2_28."""
    return f"{target.platform}-manylinux_{target.glibc.replace('.', '_')}"


def platforms(target: Target) -> list[str]:
    """Return every platform tag that the target takes, the newest glibc first."""
    newest = int(target.glibc.split(".")[1])
    names = []
    for minor in range(newest, OLDEST_MINOR[target.platform] - 1, -1):
        names.append(f"manylinux_2_{minor}_{target.platform}")
        if minor in OLD_NAMES:
            names.append(f"{OLD_NAMES[minor]}_{target.platform}")
    return names


def pip_arguments(target: Target) -> list[str]:
    """Return the arguments that make `pip download` choose wheels for the target and not for its own host."""
    arguments = ["--implementation", "cp", "--python-version", target.python]
    for name in (abi(target), "abi3", "none"):
        arguments += ["--abi", name]
    for name in platforms(target):
        arguments += ["--platform", name]
    return arguments


def tags(target: Target) -> list[Tag]:
    """Return the target's wheel tags, the best first."""
    version = tuple(int(part) for part in target.python.split("."))
    names = platforms(target)
    return [*cpython_tags(version, [abi(target)], names), *compatible_tags(version, abi(target), names)]


def rank(file_name: str, target: Target) -> int | None:
    """Return how well a wheel fits, 0 the best, or None where it does not fit or is no wheel."""
    try:
        offered = parse_wheel_filename(file_name)[3]
    except InvalidWheelFilename:
        return None
    places = [place for place, tag in enumerate(tags(target)) if tag in offered]
    return min(places, default=None)
