"""verify names each kind of damage, and repair mends it: one thing is broken at a time, in user mode."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import delta_bundle
import pytest
import relocatable
import small_bundle
from install_bench import Bench, benching, path_without_python, tree
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


def pids(bench: Bench) -> list[str]:
    return [path.read_text() for path in sorted((bench.prefix / "run").glob("*.pid"))]


def before(bench: Bench) -> Path:
    return one(bench.prefix / "releases", "1*")


def stored(bench: Bench, content: bytes) -> Path:
    return next(path for path in bench.prefix.glob("store/*/*") if content in path.read_bytes()[:100])


def relink(path: Path) -> None:
    target = path.resolve()
    path.unlink()
    path.symlink_to(target)


LIBRARY = f"lib/python{PYTHON}"
PACKAGES = f"{LIBRARY}/site-packages"
CHANGED, SIGNED = "differs from what was installed", "differs from the signed list"
# What is damaged, how, what it is named ("…" stands for digests), and what is said of it.
Damage = tuple[Callable[[Bench], Path], Callable[[Path], object], str, str]
# Nothing of this is used by what runs.
UNUSED: list[Damage] = [
    (lambda b: one(current(b) / "wheels", "uv-*"), Path.unlink, "payload/wheels/uv-", "missing"),
    (lambda b: current(b) / "sbom.cdx.json", lambda p: p.chmod(0o666), "sbom.cdx.json", "mode 0666 instead of 0644"),
    (lambda b: venv(b) / PACKAGES, lambda p: p.chmod(0o777), f"venvs/…/{PACKAGES}", "mode 0777 instead of 0755"),
    (lambda b: current(b) / "licenses", lambda p: p.chmod(0), "releases/2…/licenses", "mode 0000 instead of 0755"),
    (lambda b: before(b) / "licenses/model/LICENSE", flip, "releases/1…/licenses/model/LICENSE", SIGNED),
    (lambda b: current(b) / "more", Path.touch, "releases/2…/more", trees.EXTRA),
    (lambda b: b.prefix / "bin/ferry", lambda p: p.chmod(0o777), "bin/ferry", "mode 0777 instead of 0755"),
    (lambda b: stored(b, b"llama"), Path.unlink, "store/…/", "missing"),
]
USED: list[Damage] = [
    (lambda b: venv(b) / PACKAGES / "uv/__init__.py", flip, f"venvs/…/{PACKAGES}/uv/__init__.py", CHANGED),
    (
        lambda b: one(venv(b) / PACKAGES / "uv/__pycache__", "__init__*"),
        flip,
        f"venvs/…/{PACKAGES}/uv/__pycache__/__init__.",
        CHANGED,
    ),
    (lambda b: venv(b) / PACKAGES / "evil.pth", Path.touch, f"venvs/…/{PACKAGES}/evil.pth", trees.EXTRA),
    (lambda b: venv(b) / "pyvenv.cfg", Path.unlink, "venvs/…/pyvenv.cfg", "missing"),
    (lambda b: python(b) / LIBRARY / "wave.py", flip, f"pythons/…/{LIBRARY}/wave.py", CHANGED),
    (
        lambda b: one(python(b) / LIBRARY / "__pycache__", "wave.*"),
        flip,
        f"pythons/…/{LIBRARY}/__pycache__/wave.",
        CHANGED,
    ),
    (lambda b: python(b) / LIBRARY / "more.py", Path.touch, f"pythons/…/{LIBRARY}/more.py", trees.EXTRA),
    (lambda b: current(b) / "app/service/web/admin.py", flip, "payload/app/service/web/admin.py", SIGNED),
    (
        lambda b: one(current(b) / "app/service/more/__pycache__", "__init__*"),
        flip,
        "releases/2…/app/service/more/__pycache__/__init__.",
        CHANGED,
    ),
    (lambda b: current(b) / "app/extra/deep", lambda p: p.mkdir(parents=True), "releases/2…/app/extra", trees.EXTRA),
]
LINKS: list[Damage] = [
    (lambda b: venv(b) / trees.LIST, flip, f"venvs/…/{trees.LIST}", "its own digest"),
    (lambda b: python(b) / trees.LIST, Path.unlink, f"pythons/…/{trees.LIST}", "an earlier Ferry"),
    (lambda b: before(b) / trees.LIST, Path.unlink, f"releases/1…/{trees.LIST}", "an earlier Ferry"),
    (lambda b: current(b) / "venv", relink, "releases/2…/venv", " instead of ../../venvs/"),
    (lambda b: current(b) / "app/systemd", shutil.rmtree, "releases/2…/app/systemd", "missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damages", "is_restarted"), [(UNUSED, False), (USED, True), (LINKS, True)], ids=["unused", "used", "links"]
)
def test_each_damage_is_named_once_and_all_of_it_is_mended(
    bench: Bench, damages: list[Damage], is_restarted: bool
) -> None:
    names, running = sorted(tree(bench.prefix)), pids(bench)
    for find, damage, _, _ in damages:
        damage(find(bench))
    named = problems(bench)
    for _, _, shown, problem in damages:
        pattern = re.escape(shown).replace("…", "[^/]+")
        assert [path for path, told in named.items() if re.match(pattern, path) and problem in told], shown
    assert len(named) == len(damages) and list(named) == sorted(named)
    would = bench.ferry("repair", "--dry-run")
    assert {one["path"]: one["problem"] for one in would["problems"]} == named == problems(bench)
    answer = bench.ferry("repair")
    assert {one["path"]: one["problem"] for one in answer["repaired"]} == named
    assert bench.ferry("verify") == {"ok": True, "problems": []}
    assert bench.ferry("status")["ready"] is True and len(bench.processes()) == 2
    assert bool(answer["url"]) is (pids(bench) != running) is is_restarted
    assert sorted(tree(bench.prefix)) == names, "nothing is left over, nothing is gone"


def test_what_is_nowhere_here_is_refused_without_a_bundle_and_comes_from_any_that_has_it(bench: Bench) -> None:
    wheel, weights = one(current(bench) / "wheels", "uv-*"), current(bench) / "model/model.safetensors"
    flip(wheel)
    flip(weights)
    flip(current(bench) / "licenses/number")
    damaged, running = tree(bench.prefix), pids(bench)
    done = bench.run("repair", status=3)
    lost = ("payload/wheels/uv-", "payload/model/model.safetensors: ", "licenses/number: ")
    assert all(name in done.stderr for name in lost)
    assert "hint: give the bundle: ferry repair ferry-" in done.stderr
    other = small_bundle.make(bench.folder / "other", recipe(bench, 1))
    assert "licenses/number: sha256" in bench.run("repair", str(other), status=3).stderr
    cut = bench.folder / "cut.tar"
    cut.write_bytes(other.read_bytes()[:-2000])
    assert bench.run("repair", str(cut), status=3).stderr
    assert tree(bench.prefix) == damaged and pids(bench) == running
    stranger = replace(recipe(bench, 3), keys=(small_bundle.make_key(bench.folder / "stranger"),))
    refused = bench.run("repair", str(small_bundle.make(bench.folder / "3", stranger)), status=3)
    assert "signed by a key that" in refused.stderr

    base = Inventory("2.0.0-2-00000000", 2, dict[str, int]())
    answer = bench.ferry("repair", str(delta_bundle.make(bench.folder / "delta", recipe(bench, 2), base)))
    assert len(answer["repaired"]) == 3 and answer["url"] and pids(bench) != running
    assert bench.ferry("verify")["ok"] is True and bench.ferry("status")["ready"] is True
    for path in (wheel, weights):
        inodes = {found.stat().st_ino for found in bench.prefix.rglob(path.name)}
        assert inodes == {path.stat().st_ino} and path.stat().st_nlink == 3, "one file in the store and two releases"


def test_a_damaged_signed_list_comes_from_the_bundle_of_that_release_alone(bench: Bench) -> None:
    flip(current(bench) / "SHA256SUMS")
    (current(bench) / "licenses/number").unlink()
    assert "SHA256SUMS: " in bench.run("repair", status=3).stderr
    other = small_bundle.make(bench.folder / "other", recipe(bench, 1))
    assert "give the bundle of that very release" in bench.run("repair", str(other), status=3).stderr
    same = small_bundle.make(bench.folder / "same", recipe(bench, 2))
    bench.ferry("repair", str(same))
    assert bench.ferry("verify")["ok"] is True
    name = before(bench)
    shutil.rmtree(name)
    bench.ferry("repair", str(other))
    assert bench.ferry("verify")["ok"] is True and (name / "venv").is_symlink()


def test_a_repair_after_which_nothing_answers_is_taken_back(bench: Bench) -> None:
    extra, config = current(bench) / "app/service/extra.py", bench.prefix / "etc/ferry.toml"
    extra.write_text("1 +\n")
    good, damaged = config.read_text(), tree(bench.prefix / "releases")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        config.write_text(good.replace(f":{bench.port}", f":{busy.getsockname()[1]}"))
        done = bench.run("repair", "--json", status=5)
    assert "the repair was taken back" in json.loads(done.stdout)["error"]
    assert tree(bench.prefix / "releases") == damaged
    config.write_text(good)
    bench.ferry("repair")
    assert bench.ferry("start")["ready"] is True and bench.ferry("verify")["ok"] is True


def test_a_repair_that_is_killed_leaves_nothing_half_done(bench: Bench) -> None:
    flip(venv(bench) / PACKAGES / "uv/__init__.py")
    (current(bench) / "app/service/web/admin.py").unlink()
    damaged = tree(bench.prefix / "venvs") | tree(bench.prefix / "releases")
    with subprocess.Popen([bench.prefix / "bin/ferry", "repair"], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr
        next(line for line in child.stderr if "compiling the app" in line)
        child.kill()
    bench.run("recover")
    assert tree(bench.prefix / "venvs") | tree(bench.prefix / "releases") == damaged
    assert not list(bench.prefix.glob(".staging-*")) and not (bench.prefix / "journal").exists()
    bench.ferry("repair")
    assert bench.ferry("verify")["ok"] is True and bench.ferry("start")["ready"] is True


def test_an_interpreter_that_does_not_run_is_mended_by_installing_again(bench: Bench) -> None:
    flip(python(bench) / LIBRARY / "json/decoder.py")
    done = bench.run("verify", status=3)
    assert "the Python that it runs on, is damaged" in done.stderr and "sh install.sh" in done.stderr
    (python(bench) / "bin" / f"python{PYTHON}").unlink()
    done = bench.run("status", "--json", status=4)
    assert json.loads(done.stdout)["exit_code"] == 4 and "sh install.sh" in done.stderr
    assert "were mended" in bench.install(recipe(bench, 2)).stdout
    assert bench.ferry("verify")["ok"] is True and bench.ferry("status")["ready"] is True
