"""What a manifest may list: every file with a place of its own, every wheel a wheel. Pure.

A signed list can still be a wrong one. What is refused here could only fail, or overwrite what the installer puts
there, when half of a release is on the disk. Wheel names: packaging.python.org, "Binary distribution format".
"""

import re
from collections.abc import Collection, Iterator

from checksums.layout import FOLDERS, INSTALLER, INTERPRETER_FOLDER, SBOM, WHEELS

PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")
WHEEL = re.compile(re.escape(WHEELS) + r"(?P<project>[A-Za-z0-9._]+)(?:-[^-/]+){4,5}\.whl")


def path_faults(paths: Collection[str]) -> Iterator[str]:
    """Say which files have no place in a bundle, or are at the same time the folder of others."""
    there = set(paths)
    for path in sorted(there):
        if path not in {INSTALLER, SBOM} and not path.startswith(FOLDERS):
            yield f"{path} has no place in a bundle"
        above = (path[:place] for place, letter in enumerate(path) if letter == "/")
        if shadowed := [folder for folder in above if folder in there]:
            yield f"{shadowed[0]} is a file and the folder of {path}"


def interpreter_faults(source: str, version: str, python: str, paths: Collection[str]) -> Iterator[str]:
    """Say what is wrong with the interpreter that is carried for a Python "3.11", or with there being none."""
    carried = sorted(path for path in paths if path.startswith(INTERPRETER_FOLDER))
    if len(carried) != (source != "host"):
        yield f"{len(carried)} interpreters are carried, though its source is {source[:80]!r}"
    if any("/" in path.removeprefix(INTERPRETER_FOLDER) for path in carried):
        yield f"{carried[0]} has no place in a bundle"
    if carried and not re.fullmatch(re.escape(python) + r"\.[0-9]{1,3}", version):
        yield f"{carried[0]} is said to be Python {version[:80]!r}"


def wheel_faults(wheels: Collection[tuple[str, str, str]], paths: Collection[str]) -> Iterator[str]:
    """Say which wheels (name, version, path) cannot be installed by name, or are missing, or are not listed."""
    for name, version, file in wheels:
        found = WHEEL.fullmatch(file)
        good = PROJECT.fullmatch(name) and VERSION.fullmatch(version)
        if not good or not found or normalised(found["project"]) != normalised(name):
            yield f"{file[:80]!r} is not a wheel of {name[:80]!r} {version[:80]!r}"
    listed = [file for _, _, file in wheels]
    names = [normalised(name) for name, _, _ in wheels]
    yield from (f"{file} is missing" for file in sorted(set(listed) - set(paths)))
    carried = {path for path in paths if path.startswith(WHEELS)}
    yield from (f"{file} is among no wheels" for file in sorted(carried - set(listed)))
    yield from (f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)


def normalised(project: str) -> str:
    """Return the name under which an index knows a project (PEP 503)."""
    return re.sub(r"[-_.]+", "-", project).lower()
