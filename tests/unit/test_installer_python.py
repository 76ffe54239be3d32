"""install.sh and the interpreter that a bundle carries: it is proved, unpacked and run, or the cause is named."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import archives
import pytest
import small_bundle
import tampering
from archives import Member
from shell_bench import Bench
from small_bundle import PYTHON, Members, Recipe
from test_installer_shell import SHELLS, TOOLS

# Stands for install.pyz: says how it was called, and on what it runs.
ECHO = b"import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'on': os.environ.get('RUNS_ON', 'host')}))\n"
NAME = f"cpython-{PYTHON}.9+20250101-{small_bundle.ARCHITECTURE}-unknown-linux-gnu-install_only_stripped.tar.gz"
# Stands for the interpreter: the real one, and a note that it was the carried one.
GOOD = f'#!/bin/sh\nRUNS_ON=carried exec {sys.executable} "$@"\n'
UNPACKING = {"chmod", "gzip", "mkdir", "tar", "uname"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, small_bundle.make_key(tmp_path / "key"))


def recipe(bench: Bench, program: str = GOOD, name: str = NAME) -> Recipe:
    """Return a bundle that carries an interpreter of one shell script."""
    folder = bench.folder / "carried"
    folder.mkdir(exist_ok=True)
    member = Member(f"python/bin/python{PYTHON}", program.encode(), mode=0o755)
    (folder / name).write_bytes(archives.archive(member))
    return replace(bench.recipe, installer=ECHO, interpreter=folder / name)


def pack(bench: Bench, made: Recipe) -> Path:
    return bench.pack(small_bundle.members(made))


def tools(bench: Bench, left_out: str = "") -> str:
    """Return a PATH on which there is no Python, and what install.sh needs but for one tool."""
    folder = bench.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name in (TOOLS | UNPACKING) - {left_out}:
        (folder / name).symlink_to(str(shutil.which(name)))
    return str(folder)


def trust(bench: Bench) -> list[str]:
    return ["--allowed-signers", str(bench.allowed)]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("name", [NAME, "p.tar.gz"], ids=["a long name", "a short one"])
def test_the_carried_interpreter_is_used_on_a_server_without_any(bench: Bench, shell: list[str], name: str) -> None:
    shell = [str(shutil.which(shell[0])), *shell[1:]]
    done = bench.run(pack(bench, recipe(bench, name=name)), *trust(bench), shell=shell, PATH=tools(bench))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["on"] == "carried" and "--host-python" not in answer["argv"]
    assert list((bench.folder / "tmp").iterdir()) == []


def test_an_interpreter_that_is_named_wins_if_it_fits(bench: Bench) -> None:
    bundle = pack(bench, recipe(bench))
    answer = json.loads(bench.run(bundle, *trust(bench), "--python", sys.executable).stdout)
    assert answer["on"] == "host" and "--host-python" in answer["argv"]
    said = bench.refuse(
        bundle, f"no Python {PYTHON} here: /bin/false is none", 4, *trust(bench), "--python", "/bin/false"
    )
    assert "leave --python out: the bundle carries one" in said


def test_without_one_the_installed_release_lends_its_own(bench: Bench) -> None:
    """A delta leaves out an interpreter that the server has."""
    program = bench.folder / "prefix" / "current" / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(GOOD)
    program.chmod(0o755)
    bundle = pack(bench, replace(bench.recipe, installer=ECHO))
    done = bench.run(bundle, *trust(bench), shell=[str(shutil.which("sh"))], PATH=tools(bench))
    assert done.returncode == 0 and json.loads(done.stdout)["on"] == "carried"


def test_one_flipped_bit_in_it_is_refused_by_name(bench: Bench) -> None:
    bundle = pack(bench, recipe(bench))
    with tampering.flip_a_byte(f"/{NAME}")(bundle):
        bench.refuse(bundle, f"payload/python/{NAME}: sha256 differs from the signed list")


def dropped(content: Members) -> Members:
    return [(name, data) for name, data in content if not name.startswith("payload/python/")]


def replaced(content: Members) -> Members:
    return [(name.replace(NAME, "other.tar.gz"), data) for name, data in content]


def later(content: Members) -> Members:
    return [*dropped(content), *(one for one in content if one[0].startswith("payload/python/"))]


@pytest.mark.parametrize("change", [dropped, replaced, later])
def test_a_bundle_that_lacks_what_it_lists_is_refused(bench: Bench, change: Callable[[Members], Members]) -> None:
    bench.refuse(bench.pack(change(small_bundle.members(recipe(bench)))), f"(expected payload/python/{NAME})")


def test_a_bundle_that_is_cut_in_it_is_refused(bench: Bench) -> None:
    bundle = pack(bench, recipe(bench))
    info = tampering.member(bundle, f"/{NAME}")
    with tampering.cut(bundle, info.offset_data + 100):
        bench.refuse(bundle, f"payload/python/{NAME}: the bundle is cut short in it")
    with tampering.cut(bundle, info.offset):
        bench.refuse(bundle, "is empty or cut short")


def test_one_that_is_too_large_is_refused_before_it_is_read(bench: Bench) -> None:
    bundle = pack(bench, recipe(bench))
    info = tampering.member(bundle, f"/{NAME}")
    with bundle.open("rb") as file:
        file.seek(info.offset)
        block = bytearray(file.read(512))
    block[124:136], block[148:156] = b"%011o\0" % (1 << 30), b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with tampering.patched(bundle, info.offset, bytes(block)):
        bench.refuse(bundle, f"{1 << 30} bytes are too many")


@pytest.mark.parametrize(
    ("program", "named"),
    [
        ('#!/bin/sh\necho "$0: libc.so.6: version \\`GLIBC_2.99\' not found" >&2; exit 1\n', "GLIBC_2.99' not found"),
        ("#!/bin/sh\necho 3.9\n", "does not run here"),
        ("#!/nowhere/ld-musl\n", "not found"),
        ("", "does not run here"),
    ],
    ids=["a glibc too old", "another version", "no loader", "an empty file"],
)
def test_one_that_does_not_run_here_is_a_finding(bench: Bench, program: str, named: str) -> None:
    said = bench.refuse(pack(bench, recipe(bench, program)), named, 4)
    assert "the carried Python does not run here" in said
    assert list((bench.folder / "tmp").iterdir()) == []


def test_a_server_of_another_architecture_is_told_so(bench: Bench) -> None:
    made = replace(recipe(bench), architecture="riscv64")
    bench.refuse(pack(bench, made), f"the bundle is for riscv64, this server is {os.uname().machine}", 4)


@pytest.mark.parametrize("absent", ["tar", "gzip"])
def test_a_tool_is_needed_only_where_something_is_unpacked(bench: Bench, absent: str) -> None:
    path, shell = tools(bench, absent), [str(shutil.which("sh"))]
    done = bench.run(pack(bench, recipe(bench)), *trust(bench), shell=shell, PATH=path)
    assert done.returncode == 4 and f"{absent}: command not found" in done.stderr
    plain = bench.run(
        pack(bench, replace(bench.recipe, installer=ECHO)),
        *trust(bench),
        "--python",
        sys.executable,
        shell=shell,
        PATH=path,
    )
    assert plain.returncode == 0, plain.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_temporary_folder_without_programs_is_a_finding(bench: Bench) -> None:
    mount = 'mount -t tmpfs -o noexec tmpfs "$TMPDIR" && exec sh "$@"'
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    done = bench.run(pack(bench, recipe(bench)), *trust(bench), shell=shell)
    assert done.returncode == 4 and "noexec" in done.stderr and "set TMPDIR" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_temporary_folder_that_fills_up_is_no_damage(bench: Bench) -> None:
    mount = 'mount -t tmpfs -o size=400k tmpfs "$TMPDIR" && exec sh "$@"'
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]
    large = GOOD + "#" * (1 << 20)
    done = bench.run(pack(bench, recipe(bench, large)), *trust(bench), shell=shell)
    assert done.returncode == 1 and "cannot be unpacked" in done.stderr and "TMPDIR" in done.stderr
