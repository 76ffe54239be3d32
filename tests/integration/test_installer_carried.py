"""A bundle that carries its interpreter, in user mode, on a server that has no Python at all or another one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import archives
import delta_bundle
import pytest
import relocatable
from archives import Member
from install_bench import Bench, benching, path_without_python, tree
from small_bundle import PYTHON, Recipe

from checksums.inventory import Inventory


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


def bare(bench: Bench) -> Bench:
    """Return the same bench on a server without Python."""
    return replace(bench, python=None, path=path_without_python(bench.folder / "bin"))


def carrying(bench: Bench) -> Recipe:
    return replace(bench.recipe, interpreter=relocatable.of_this_host())


def programs(bench: Bench) -> set[str]:
    """Return what the service's processes really run."""
    names = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    lines = {entry: (entry / "cmdline").read_bytes() for entry in names if (entry / "cmdline").exists()}
    ours = [entry for entry, line in lines.items() if str(bench.prefix).encode() in line and b"service." in line]
    return {str((entry / "exe").readlink()) for entry in ours}


def pythons(bench: Bench) -> list[Path]:
    folder = bench.prefix / "pythons"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_server_without_python_installs_answers_upgrades_and_is_purged(bench: Bench) -> None:
    bench = bare(bench)
    done = bench.install(carrying(bench))
    assert f"unpacking Python {PYTHON}." in done.stderr
    (home,) = pythons(bench)
    assert programs(bench) == {str(home / "bin" / f"python{PYTHON}")}
    assert json.loads((bench.prefix / "state.json").read_text())["python"].startswith(str(home))
    assert [path for path in home.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022] == []

    before = tree(bench.prefix)
    assert bench.ferry("status")["ready"] is True and bench.ferry("verify") == {"ok": True, "problems": []}
    assert tree(bench.prefix) == before, "no bytecode is written later"

    module = home / "lib" / f"python{PYTHON}" / "json" / "__init__.py"
    kept, program = module.read_bytes(), (home / "bin" / f"python{PYTHON}").stat()
    base = Inventory.parse(json.dumps(bench.ferry("inventory")).encode())
    delta = delta_bundle.make(bench.folder / "delta", replace(carrying(bench), version="2.0.0", sequence=2), base)
    assert delta.stat().st_size < 1_000_000, "it leaves the interpreter out"
    bench.install_file(delta)
    assert bench.ferry("status")["version"] == "2.0.0" and len(programs(bench)) == 1
    assert pythons(bench) == [home] and (home / "bin" / f"python{PYTHON}").stat() == program
    module.chmod(0o644)
    module.write_bytes(kept + b"\n")
    module.chmod(0o444)
    (problem,) = bench.ferry("verify", status=3)["problems"]
    assert problem["path"].endswith("json/__init__.py") and "differs from what was installed" in problem["problem"]
    bench.install(replace(carrying(bench), version="3.0.0", sequence=3))
    assert module.read_bytes() == kept and bench.ferry("verify")["ok"] is True

    assert str(bench.prefix / "pythons") in bench.ferry("uninstall", "--purge", "--dry-run")["paths"]
    bench.ferry("uninstall", "--purge")
    assert not bench.prefix.exists()


def test_from_the_servers_python_to_a_carried_one_and_back(bench: Bench) -> None:
    bench.install(bench.recipe)
    before = tree(bench.prefix)
    carried = replace(carrying(bench), version="2.0.0", sequence=2)
    alone = replace(bench, python=None)
    assert "taken back" in alone.install(replace(carried, behaviour="engine dies"), status=5).stderr
    assert tree(bench.prefix) == before and pythons(bench) == []
    alone.install(carried)
    assert programs(bench) == {str(pythons(bench)[0] / "bin" / f"python{PYTHON}")}
    bench.install(replace(bench.recipe, version="3.0.0", sequence=3))
    assert len(pythons(bench)) == 1, "the release before may come back"
    assert programs(bench) == {str(Path(sys.executable).resolve())}
    bench.install(replace(bench.recipe, version="4.0.0", sequence=4))
    assert pythons(bench) == [] and bench.ferry("verify")["ok"] is True


def test_an_interpreter_that_is_named_leaves_the_carried_one_alone(bench: Bench) -> None:
    bench.install(carrying(bench))
    assert pythons(bench) == [] and programs(bench) == {str(Path(sys.executable).resolve())}
    assert bench.ferry("verify")["ok"] is True


# Stands for an interpreter, so that install.pyz comes to look at its archive.
SCRIPT = f'#!/bin/sh\ncase $* in *sqlite3*) {{probe}} ;; esac\nexec {sys.executable} "$@"\n'


def scripted(bench: Bench, *members: Member, probe: str = ":") -> Recipe:
    program = Member(f"python/bin/python{PYTHON}", SCRIPT.format(probe=probe).encode(), mode=0o755)
    path = bench.folder / "cpython.tar.gz"
    path.write_bytes(archives.archive(program, *members))
    return replace(bench.recipe, interpreter=path)


def test_a_signed_archive_that_leads_outside_is_refused(bench: Bench) -> None:
    recipe = scripted(bench, Member("python/x", kind=b"2", target="../../../../.."))
    done = replace(bench, python=None).install(recipe, status=3)
    assert "cpython.tar.gz: 'x': a link that leads outside" in done.stderr
    assert not bench.prefix.exists()


def test_an_interpreter_that_lacks_a_library_is_a_finding(bench: Bench) -> None:
    recipe = scripted(bench, probe="echo No module named sqlite3 >&2; exit 1")
    done = replace(bench, python=None).install(recipe, status=4)
    assert "the carried Python does not run here: No module named sqlite3" in done.stderr
    assert not bench.prefix.exists()


def test_a_dry_run_says_which_python_and_changes_nothing(bench: Bench) -> None:
    replace(bench, python=None).install(scripted(bench), "--dry-run")
    assert not bench.prefix.exists()
