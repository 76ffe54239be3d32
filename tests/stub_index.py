"""A package index in a folder (PEP 503), with the real names, versions, metadata and tags of what Ferry carries.

stub_index.json was recorded from a package index for eight targets: every package that requirements.in leads to on
any of them. The wheels are stand-ins of a kilobyte. A pin in requirements.in that is newer than the record is followed.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import stub_wheels
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bundle import targets
from checksums.manifest import Target

RECORD = Path(__file__).with_name("stub_index.json")
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.in"


@dataclass(frozen=True)
class Release:
    """One version of a package: what it needs, the files that an index lists for it, and the targets that choose it."""

    name: str
    version: str
    requires_python: str
    requires: tuple[str, ...]
    wheels: tuple[str, ...]
    chosen_for: tuple[str, ...]


def released() -> list[Release]:
    """Return everything that the index has, with the pins of requirements.in."""
    rows: list[dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    found = [Release(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}) for row in rows]
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in _pins()}
    return [_at(release, pins.get(canonicalize_name(release.name), release.version), found) for release in found]


def _pins() -> Iterable[Requirement]:
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    found = (Requirement(line) for line in lines if line)
    return (pin for pin in found if len(pin.specifier) == 1 and next(iter(pin.specifier)).operator == "==")


def _at(release: Release, version: str, found: Sequence[Release]) -> Release:
    """Return a release renamed to a version that the record does not have, where it is the newest of its package."""
    versions = [other.version for other in found if other.name == release.name]
    if version in versions or release.version != versions[-1]:
        return release
    wheels = (name.replace(f"-{release.version}-", f"-{version}-", 1) for name in release.wheels)
    return replace(release, version=version, wheels=tuple(wheels))


def expected(target: Target) -> dict[str, str]:
    """Return name -> version of everything that belongs on a target."""
    wanted = f"{target.python}-{target.platform}"
    return {release.name: release.version for release in released() if wanted in release.chosen_for}


def write_files(folder: Path, releases: Iterable[Release]) -> None:
    """Write every file that the releases list, and a newer source distribution of each that nobody may take."""
    for release in releases:
        for file in release.wheels:
            _name, version, tag = file.removesuffix(".whl").split("-", 2)
            stub_wheels.make(folder, release.name, version, tag, release.requires, release.requires_python)
        (folder / f"{release.name}-99.tar.gz").write_bytes(b"a setup.py that could run here")


def write_pages(folder: Path, files: Path, releases: Iterable[Release]) -> str:
    """Write a page for each package, and return the index's address; `files` is where the wheels lie."""
    pages: dict[str, list[str]] = {}
    for release in releases:
        lines = pages.setdefault(release.name, [_link(files / f"{release.name}-99.tar.gz", "")])
        lines += [_link(files / file, release.requires_python) for file in release.wheels]
    for name, lines in pages.items():
        page = folder / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("<!DOCTYPE html><html><body>\n" + "<br>\n".join(lines) + "\n</body></html>\n")
    return folder.as_uri()


def _link(file: Path, requires_python: str) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    needs = f' data-requires-python="{html.escape(requires_python)}"' if requires_python else ""
    return f'<a href="{file.as_uri()}#sha256={digest}"{needs}>{file.name}</a>'


def _other_python(target: Target) -> str:
    return "cp39-cp39-" + targets.platforms(target)[0]


def _other_machine(target: Target) -> str:
    other = next(machine for machine in targets.PLATFORMS if machine != target.platform)
    return f"{targets.abi(target)}-{targets.abi(target)}-manylinux_2_28_{other}"


def _newer_glibc(target: Target) -> str:
    return f"{targets.abi(target)}-{targets.abi(target)}-manylinux_2_39_{target.platform}"


# How a wheel can be unavailable: the tag of the only wheel that is left, if any is.
WAYS: Mapping[str, Callable[[Target], str] | None] = {
    "removed": None,
    "only as a source distribution": lambda _target: "",
    "only for another Python": _other_python,
    "only for another architecture": _other_machine,
    "only for a newer glibc": _newer_glibc,
}


def without(releases: Sequence[Release], name: str, target: Target, way: str, files: Path) -> list[Release]:
    """Return the releases with one package unavailable on the target, in one of WAYS."""
    tag_of = WAYS[way]
    if tag_of is None:
        return [release for release in releases if release.name != name]
    changed = []
    for release in releases:
        if release.name == name:
            tag = tag_of(target)
            made = [stub_wheels.make(files, name, release.version, tag, release.requires)] if tag else []
            release = replace(release, wheels=tuple(file.name for file in made))
        changed.append(release)
    return changed
