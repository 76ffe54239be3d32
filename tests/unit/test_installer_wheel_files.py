"""The list of an environment is rooted in the wheels: what stands there is what their RECORDs say."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import small_bundle
import stub_wheels
from small_bundle import Recipe

from checksums.errors import IntegrityError
from checksums.manifest import Manifest
from installer import installed, wheel_files
from installer.trees import FILE, Entry

PACKAGES = "lib/python3.11/site-packages"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    stub_wheels.make(tmp_path / "wheels", "one")
    stub_wheels.make(tmp_path / "wheels", "two")
    return tmp_path


def manifest(release: Path) -> Manifest:
    files = {f"payload/wheels/{path.name}": path.read_bytes() for path in (release / "wheels").iterdir()}
    return small_bundle.manifest(Recipe(python="3.11"), files)


def unpacked(release: Path) -> dict[str, Entry]:
    """Return what an installer that does as it should leaves behind."""
    found: dict[str, Entry] = {}
    for wheel in (release / "wheels").iterdir():
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                path = f"{PACKAGES}/{name}"
                found[path] = Entry(path, FILE, 0o644, 1, small_bundle.digest(archive.read(name)))
    return found


def test_what_was_installed_from_the_wheels_is_accepted_and_may_have_bytecode(release: Path) -> None:
    entries = unpacked(release)
    entries[f"{PACKAGES}/one/__pycache__/x.pyc"] = Entry("x", FILE, 0o644, 1, "0" * 64)
    wheel_files.check(wheel_files.of(manifest(release), release), entries)


@pytest.mark.parametrize("name", ["one/__init__.py", "two-1.0.dist-info/METADATA"])
def test_a_file_that_is_not_the_wheels_is_refused(release: Path, name: str) -> None:
    entries, path = unpacked(release), f"{PACKAGES}/{name}"
    entries[path] = Entry(path, FILE, 0o644, 1, "0" * 64)
    with pytest.raises(IntegrityError, match=name):
        wheel_files.check(wheel_files.of(manifest(release), release), entries)
    del entries[path]
    with pytest.raises(IntegrityError, match=name):
        wheel_files.check(wheel_files.of(manifest(release), release), entries)


@pytest.mark.parametrize(
    ("says", "problem"),
    [("echo 3.11", ""), ("echo 3.9", "is Python 3.9"), ("echo no libc >&2; exit 1", "does not run: no libc")],
)
def test_an_interpreter_that_became_another_one_is_named(tmp_path: Path, says: str, problem: str) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    assert installed.base_problem(program, "3.11").startswith(problem)
    assert bool(installed.base_problem(program, "3.11")) is bool(problem)


def test_an_interpreter_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to("gone")
    assert installed.base_problem(tmp_path / "python", "3.11").startswith("missing")
