"""verify names each kind of damage, and repair mends it: one thing is broken at a time, in user mode."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import delta_bundle
import pytest
import relocatable
import small_bundle
from install_bench import OUTPUT, Bench, benching, path_without_python, tree
from small_bundle import PYTHON, Recipe

from checksums.inventory import Inventory
from installer import trees


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Two releases on an interpreter of their own: everything that an installation can have is here."""
    folder = tmp_path_factory.mktemp("repair")
    with benching(folder) as made:
        bare = replace(made, python=None, path=path_without_python(folder / "bin"))
        bare.install(recipe(bare, 1))
        bare.install(recipe(bare, 2))
        yield bare


def recipe(bench: Bench, number: int) -> Recipe:
    more = {"licenses/number": b"%d" % number, "payload/app/service/more/__init__.py": b"NUMBER = %d\n" % number}
    interpreter = relocatable.of_this_host()
    return replace(bench.recipe, version=f"{number}.0.0", sequence=number, interpreter=interpreter, more=more)


def problems(bench: Bench) -> dict[str, str]:
    answer = bench.ferry("verify", status=3)
    assert answer["ok"] is False
    return {problem["path"]: problem["problem"] for problem in answer["problems"]}


def flip(path: Path) -> None:
    mode, data = path.stat().st_mode, bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def current(bench: Bench) -> Path:
    return (bench.prefix / "current").resolve()


def venv(bench: Bench) -> Path:
    return (current(bench) / "venv").resolve()


def python(bench: Bench) -> Path:
    return one(bench.prefix / "pythons", "*")


PACKAGES = f"lib/python{PYTHON}/site-packages"
CHANGED, SIGNED = "differs from what was installed", "differs from the signed list"
# What is damaged, how, as what it is named (with "…" for digests), and whether the service has to be started again.
Damage = tuple[Callable[[Bench], Path], Callable[[Path], object], str, str, bool]
DAMAGE: dict[str, Damage] = {
    "a file of a wheel": (
        lambda b: venv(b) / PACKAGES / "uv/__init__.py", flip, f"venvs/…/{PACKAGES}/uv/__init__.py", CHANGED, True,
    ),
    "bytecode of a wheel": (
        lambda b: one(venv(b) / PACKAGES / "uv/__pycache__", "__init__*"), flip,
        f"venvs/…/{PACKAGES}/uv/__pycache__/__init__.", CHANGED, True,
    ),
    "a file of the interpreter": (
        lambda b: python(b) / f"lib/python{PYTHON}/json/decoder.py", flip,
        f"pythons/…/lib/python{PYTHON}/json/decoder.py", CHANGED, True,
    ),
    "a file more in the interpreter": (
        lambda b: python(b) / f"lib/python{PYTHON}/usercustomize.py", Path.touch,
        f"pythons/…/lib/python{PYTHON}/usercustomize.py", trees.EXTRA, True,
    ),
    "a file of the app": (
        lambda b: current(b) / "app/service/more/__init__.py", flip, "payload/app/service/more/__init__.py", SIGNED, True,
    ),
    "bytecode of the app": (
        lambda b: one(current(b) / "app/service/more/__pycache__", "__init__*"), flip,
        "releases/…/app/service/more/__pycache__/__init__.", SIGNED, True,
    ),
    "a wheel": (lambda b: one(current(b) / "wheels", "uv-*"), flip, "payload/wheels/uv-", SIGNED, False),
    "a mode of a file": (
        lambda b: current(b) / "licenses/model/LICENSE", lambda p: p.chmod(0o666), "licenses/model/LICENSE",
        "mode 0666 instead of 0644", False,
    ),
    "a mode of a folder": (
        lambda b: venv(b) / PACKAGES, lambda p: p.chmod(0o777), f"venvs/…/{PACKAGES}", "mode 0777 instead of 0755",
        False,
    ),
    "a folder that is shut": (
        lambda b: current(b) / "licenses", lambda p: p.chmod(0), "releases/…/licenses", "mode 0000 instead of 0755", False,
    ),
    "a file more": (
        lambda b: venv(b) / PACKAGES / "evil.pth", Path.touch, f"venvs/…/{PACKAGES}/evil.pth", trees.EXTRA, True,
    ),
    "a folder more": (
        lambda b: current(b) / "app/extra/deep", lambda p: p.mkdir(parents=True), "releases/…/app/extra", trees.EXTRA,
        True,
    ),
    "a file gone": (lambda b: venv(b) / "pyvenv.cfg", Path.unlink, "venvs/…/pyvenv.cfg", "missing", True),
    "a folder gone": (lambda b: current(b) / "app/service/more", shutil.rmtree, "releases/…/app/service/more", "missing", True),
    "the link to the environment": (
        lambda b: current(b) / "venv", lambda p: (p.unlink(), p.symlink_to("/usr")), "releases/…/venv",
        "leads to /usr instead of ../../venvs/", True,
    ),
    "the link to the release": (
        lambda b: b.prefix / "current", lambda p: (p.unlink(), p.symlink_to(one(p.parent / "releases", "1*"))), "current",
        "leads to ", True,
    ),
    "the command": (
        lambda b: b.prefix / "bin/ferry", lambda p: p.write_text(p.read_text() + "\n"), "bin/ferry",
        "is not what this release writes", False,
    ),
    "the list of the environment": (
        lambda b: venv(b) / trees.LIST, flip, f"venvs/…/{trees.LIST}", "its own digest", True,
    ),
    "the list of the release": (
        lambda b: current(b) / trees.LIST, Path.unlink, f"releases/…/{trees.LIST}", "an earlier Ferry", True,
    ),
    "who signed": (
        lambda b: one(b.prefix / "releases", "1*") / "licenses/number", flip, "releases/…/licenses/number", SIGNED, False,
    ),
}  # fmt: skip
