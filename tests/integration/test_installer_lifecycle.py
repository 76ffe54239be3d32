"""The installer's whole life in user mode, on a small bundle: install, upgrade, fail, take back, remove.

Nothing is faked but the service, which speaks the real protocol: real install.sh, ssh-keygen, uv and processes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import small_bundle
import uv
from install_bench import OUTPUT, Bench, benching, tree


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        yield made


def test_install_answer_stop_start_and_remove(bench: Bench) -> None:
    done = json.loads(bench.install(bench.recipe, "--json").stdout)
    assert set(done) == {"release", "version", "url", "user", "password"}
    assert (done["user"], done["password"], done["url"]) == ("admin", "correct horse", f"http://127.0.0.1:{bench.port}")
    running = {"release": done["release"], "version": "1.0.0", "state": "running", "url": done["url"], "ready": True}
    running["problem"] = None
    assert bench.ferry("status") == running
    assert bench.ferry("verify") == {"ok": True, "problems": []}
    assert len(bench.processes()) == 2
    bench.ferry("stop")
    assert bench.ferry("status") == running | {"state": "stopped", "ready": False}
    assert bench.processes() == []
    assert bench.ferry("start") == running
    bench.ferry("start")
    assert len(bench.processes()) == 2
    bench.ferry("uninstall")
    assert sorted(path.name for path in bench.prefix.iterdir()) == ["data", "etc", "log"]
    assert bench.processes() == []


def test_data_and_settings_are_kept_and_found_again(bench: Bench) -> None:
    bench.install(bench.recipe)
    bench.ferry("user", "add", "alice")
    bench.ferry("uninstall")
    again = json.loads(bench.install(bench.recipe, "--json").stdout)
    assert (again["user"], again["password"]) == (None, None)
    assert {"user": "alice"} in bench.ferry("user", "list")["users"]
    bench.ferry("uninstall", "--purge")
    assert not bench.prefix.exists()


def test_a_prefix_may_be_a_link_and_nothing_in_it_is_writable_by_others(bench: Bench) -> None:
    real = bench.prefix.with_name("real")
    real.mkdir()
    bench.prefix.symlink_to(real)
    bench.install(bench.recipe)
    files = (path for path in real.rglob("*") if path.is_file() and not path.is_symlink())
    assert [path for path in files if path.stat().st_mode & 0o022] == []
    bench.ferry("uninstall", "--purge")
    assert bench.prefix.is_symlink() and list(real.iterdir()) == []


def test_the_same_bundle_again_changes_nothing(bench: Bench) -> None:
    bench.install(bench.recipe)
    before, running = tree(bench.prefix), bench.processes()
    assert "installed already; nothing was changed" in bench.install(bench.recipe).stdout
    assert tree(bench.prefix) == before and bench.processes() == running


def test_a_dry_run_shows_the_plan_and_changes_nothing(bench: Bench) -> None:
    done = bench.install(bench.recipe, "--dry-run")
    assert "would install 1.0.0-1-" in done.stderr and "Apache-2.0" in done.stderr
    assert not bench.prefix.exists()
    bench.install(bench.recipe)
    before = tree(bench.prefix)
    assert "bin/ferry" in str(bench.ferry("uninstall", "--purge", "--dry-run")["paths"])
    assert bench.ferry("stop", "--dry-run")["state"] == "running"
    assert tree(bench.prefix) == before


def test_an_upgrade_shares_what_did_not_change_and_keeps_one_release_before(bench: Bench) -> None:
    bench.install(bench.recipe)
    venv = (bench.prefix / "current" / "venv").resolve()
    weights = (bench.prefix / "current" / "model" / "model.safetensors").stat().st_ino
    for sequence in (2, 3):
        recipe = replace(
            bench.recipe, version=f"{sequence}.0.0", sequence=sequence, more={"licenses/n": b"%d" % sequence}
        )
        bench.install(recipe)
        assert bench.ferry("status")["version"] == recipe.version
    assert [name[:5] for name in bench.releases()] == ["2.0.0", "3.0.0"]
    assert (bench.prefix / "current" / "venv").resolve() == venv
    assert (bench.prefix / "current" / "model" / "model.safetensors").stat().st_ino == weights
    assert bench.ferry("status")["ready"] is True


@pytest.mark.parametrize("behaviour", ["engine dies", "web dies", "no answer"])
def test_a_release_that_does_not_answer_is_taken_back(bench: Bench, behaviour: str) -> None:
    bench.install(bench.recipe)
    before = tree(bench.prefix)
    bad = replace(bench.recipe, version="2.0.0", sequence=2, behaviour=behaviour)
    done = bench.install(bad, status=5)
    assert "the release was taken back" in done.stderr
    lines = {"engine dies": "these weights cannot be loaded", "web dies": "this web cannot start"}
    assert lines.get(behaviour, "the model gave no answer") in done.stderr
    assert tree(bench.prefix) == before
    assert bench.ferry("status")["ready"] is True and bench.ferry("status")["version"] == "1.0.0"


@pytest.mark.parametrize("behaviour", ["engine dies", "web dies", "no answer"])
def test_a_first_install_that_does_not_answer_leaves_nothing(bench: Bench, behaviour: str) -> None:
    done = bench.install(replace(bench.recipe, behaviour=behaviour), "--json", status=5)
    assert json.loads(done.stdout)["exit_code"] == 5
    assert not bench.prefix.exists() and bench.processes() == []


def test_verify_names_what_was_changed_removed_and_forged(bench: Bench) -> None:
    bench.install(bench.recipe)
    release = bench.prefix / "current"
    (release / "app" / "service" / "web" / "admin.py").open("a").write("\n")
    (release / "sbom.cdx.json").unlink()
    (release / "licenses" / "model" / "LICENSE").chmod(0o600)
    found = {problem["path"]: problem["problem"] for problem in bench.ferry("verify", status=3)["problems"]}
    assert found["payload/app/service/web/admin.py"] == "sha256 differs from the signed list"
    assert found["sbom.cdx.json"] == "missing"
    assert found["licenses/model/LICENSE"] == "mode 0600 instead of 0644"
    sums = release / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"sbom", b"som!"))
    assert "SHA256SUMS" in str(bench.ferry("verify", status=3)["problems"])


def test_what_ignores_sigterm_is_killed_within_ten_seconds(bench: Bench) -> None:
    bench.install(replace(bench.recipe, behaviour="ignores SIGTERM"))
    began = time.monotonic()
    bench.ferry("stop")
    assert time.monotonic() - began < 10
    assert bench.processes() == []


def test_a_process_number_that_went_to_somebody_else_is_left_alone(bench: Bench) -> None:
    bench.install(bench.recipe)
    bench.ferry("stop")
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        (bench.prefix / "run" / "web.pid").write_text(f"{other.pid} 1\n")
        assert bench.ferry("status")["state"] == "failed"
        bench.ferry("stop")
        assert other.poll() is None
        other.kill()


def test_a_web_that_died_is_seen_and_started_again(bench: Bench) -> None:
    bench.install(bench.recipe)
    pid = int((bench.prefix / "run" / "web.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    assert bench.ferry("status")["state"] == "failed"
    assert bench.ferry("start")["ready"] is True


@pytest.mark.parametrize("name", ["with blanks and 'quotes'", "deep" + "/folder" * 20])
def test_any_prefix_works(bench: Bench, name: str) -> None:
    bench = replace(bench, prefix=bench.folder / name)
    bench.install(bench.recipe)
    assert bench.ferry("status")["ready"] is True
    bench.ferry("uninstall", "--purge")
    assert not bench.prefix.exists()


@pytest.mark.parametrize(
    ("number", "pause_s"), [(signal.SIGINT, 0.2), (signal.SIGTERM, 0.5), (signal.SIGINT, 0.8), (signal.SIGTERM, 1.5)]
)
def test_an_interrupted_install_takes_back_what_it_began(bench: Bench, number: signal.Signals, pause_s: float) -> None:
    never = small_bundle.make(bench.folder / "medium", replace(bench.recipe, behaviour="never ready"))
    temporary = bench.folder / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(bench.command(never), env=environment, stderr=subprocess.PIPE, text=True) as child:
        time.sleep(pause_s)
        child.send_signal(number)
        _, said = child.communicate(timeout=30)
    assert child.returncode == 130, said
    assert not bench.prefix.exists() and list(temporary.iterdir()) == []


def test_an_install_that_was_killed_can_be_run_again(bench: Bench) -> None:
    never = small_bundle.make(bench.folder / "medium", replace(bench.recipe, behaviour="never ready"))
    with subprocess.Popen(bench.command(never), stderr=subprocess.PIPE, start_new_session=True) as child:
        time.sleep(1)
        os.killpg(child.pid, signal.SIGKILL)
    for name in ("web", "engine"):
        file = bench.prefix / "run" / f"{name}.pid"
        if file.exists():
            os.kill(int(file.read_text().split()[0]), signal.SIGKILL)
    bench.install(bench.recipe)
    assert bench.ferry("status")["ready"] is True
    assert len(bench.releases()) == 1


def test_two_installs_at_once_do_not_mix(bench: Bench) -> None:
    bench.install(bench.recipe)
    never = small_bundle.make(
        bench.folder / "2", replace(bench.recipe, version="2.0.0", sequence=2, behaviour="never ready")
    )
    with subprocess.Popen(bench.command(never), stderr=subprocess.PIPE, text=True) as first:
        time.sleep(1.5)
        newer = replace(bench.recipe, version="3.0.0", sequence=3)
        assert re.search(r"process \d+ is changing it", bench.install(newer, status=1).stderr)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)
    assert bench.ferry("status")["version"] == "1.0.0" and bench.ferry("status")["ready"] is True
    began = time.monotonic()
    bench.ferry("stop")
    assert time.monotonic() - began < 5, "what was started again has to hear of a stop"


def find_python(version: str) -> str:
    """Return an interpreter of a version, "" where this host has none."""
    find = [uv.find_uv_bin(), "python", "find", "--offline", "--no-project", "--no-python-downloads", version]
    return subprocess.run(find, **OUTPUT, check=False).stdout.strip()


# The oldest and the newest that the installer is written for; this one where the host has neither.
PYTHONS = {version: path for version in ("3.10", "3.13") if (path := find_python(version))} or {
    f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable
}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_installer_runs_on_the_oldest_and_the_newest_python_here(bench: Bench, version: str) -> None:
    bench.install(replace(bench.recipe, python=version), "--python", PYTHONS[version])
    assert bench.ferry("status")["ready"] is True
