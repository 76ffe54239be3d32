"""Upgrade, rollback and what comes after a kill, in user mode on the small bundle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_bundle
from install_bench import OUTPUT, Bench, benching, tree
from small_bundle import Recipe


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with benching(tmp_path) as made:
        made.install(made.recipe)
        yield made


def second(bench: Bench, **changes: Any) -> Recipe:
    return replace(bench.recipe, version="2.0.0", sequence=2, **changes)


def upgrade(bench: Bench, recipe: Recipe, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `ferry upgrade` on a bundle."""
    bundle = small_bundle.make(bench.folder / "medium", recipe)
    done = subprocess.run([str(bench.prefix / "bin" / "ferry"), "upgrade", str(bundle), *words], **OUTPUT, check=False)
    assert done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def version(bench: Bench) -> str:
    found = bench.ferry("status")
    assert found["ready"] is True
    return str(found["version"])


def test_upgrade_and_rollback_keep_accounts(bench: Bench) -> None:
    bench.ferry("user", "add", "alice")
    assert json.loads(upgrade(bench, second(bench), "--json").stdout)["version"] == "2.0.0"
    assert version(bench) == "2.0.0"
    bench.ferry("user", "add", "bob")
    went = bench.ferry("rollback")
    assert (went["version"], went["losses"]) == ("1.0.0", []) and version(bench) == "1.0.0"
    assert {user["user"] for user in bench.ferry("user", "list")["users"]} == {"admin", "alice", "bob"}
    assert bench.ferry("verify")["ok"] is True


def test_after_a_rollback_the_newest_may_come_back_and_nothing_older(bench: Bench) -> None:
    newest = second(bench)
    upgrade(bench, newest)
    bench.ferry("rollback")
    between = replace(bench.recipe, version="1.5.0", sequence=2, more={"licenses/n": b"other"})
    assert "numbered like" in upgrade(bench, between, status=3).stderr
    upgrade(bench, newest)
    assert version(bench) == "2.0.0"
    upgrade(bench, replace(bench.recipe, version="3.0.0", sequence=3))
    assert [name[:5] for name in bench.releases()] == ["2.0.0", "3.0.0"]


def test_rolling_back_again_changes_nothing(bench: Bench) -> None:
    upgrade(bench, second(bench))
    bench.ferry("rollback")
    before, running = tree(bench.prefix), bench.processes()
    assert bench.ferry("rollback")["version"] == "1.0.0"
    assert tree(bench.prefix) == before and bench.processes() == running


def test_a_rollback_that_loses_data_says_what_and_wants_a_yes(bench: Bench) -> None:
    upgrade(bench, second(bench, schema="2"))
    before = tree(bench.prefix)
    said = bench.ferry("rollback", status=2)
    assert "3 colours" in said["error"] and "--yes" in said["hint"]
    assert bench.ferry("rollback", "--dry-run")["losses"] == ["3 colours"]
    assert tree(bench.prefix) == before and version(bench) == "2.0.0"
    bench.ferry("rollback", "--yes")
    assert version(bench) == "1.0.0"
    assert (bench.prefix / "data" / "schema").read_text() == "1" and not (bench.prefix / "data" / "colours").exists()


def test_there_is_nothing_to_roll_back_to_after_a_first_install(bench: Bench) -> None:
    assert "no release before" in bench.ferry("rollback", status=2)["error"]


@pytest.mark.parametrize("behaviour", ["spoils data", "engine dies", "answer never comes"])
def test_a_bad_upgrade_leaves_release_and_data_as_they_were(bench: Bench, behaviour: str) -> None:
    bench.ferry("user", "add", "alice")
    before = tree(bench.prefix)
    done = upgrade(bench, second(bench, behaviour=behaviour, schema="2"), "--deadline", "5", status=5)
    assert "the release was taken back" in done.stderr
    assert tree(bench.prefix) == before and version(bench) == "1.0.0"


def test_an_upgrade_is_refused_by_the_servers_own_list(bench: Bench) -> None:
    stranger = small_bundle.make_key(bench.folder / "stranger")
    before = tree(bench.prefix)
    assert "signed by a key" in upgrade(bench, replace(second(bench), keys=(stranger,)), status=3).stderr
    assert "not signed" in upgrade(bench, replace(second(bench), keys=()), status=3).stderr
    assert tree(bench.prefix) == before


def test_a_dry_run_of_an_upgrade_changes_nothing(bench: Bench) -> None:
    before = tree(bench.prefix)
    assert "would install 2.0.0-2-" in upgrade(bench, second(bench), "--dry-run").stderr
    assert tree(bench.prefix) == before and version(bench) == "1.0.0"


def test_the_same_release_is_no_upgrade(bench: Bench) -> None:
    before, running = tree(bench.prefix), bench.processes()
    assert "installed already" in upgrade(bench, bench.recipe).stdout
    assert tree(bench.prefix) == before and bench.processes() == running


def test_an_upgrade_that_is_killed_is_taken_back_by_the_guard(bench: Bench) -> None:
    before = tree(bench.prefix)
    bundle = small_bundle.make(bench.folder / "medium", second(bench, behaviour="never ready", schema="2"))
    command = [str(bench.prefix / "bin" / "ferry"), "upgrade", str(bundle)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if "waiting until the model can answer" in line:
                break
        os.killpg(child.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while (bench.prefix / "journal").exists():
        assert time.monotonic() < end, "nobody took it back"
        time.sleep(0.2)
    assert version(bench) == "1.0.0" and tree(bench.prefix) == before
    upgrade(bench, second(bench))
    assert version(bench) == "2.0.0"


def test_recover_says_that_nothing_was_interrupted(bench: Bench) -> None:
    assert bench.ferry("recover") == {"command": None}


def test_an_uninstall_that_was_broken_off_is_finished_by_the_same_command(bench: Bench) -> None:
    wrapper = bench.prefix / "bin" / "ferry"
    stopped = bench.folder / "stopped"
    stopped.mkdir()
    # The interpreter goes, then rm is killed: what is left is the command itself.
    (stopped / "rm").write_text(
        f'#!/bin/sh\ncase "$*" in *venvs*) kill -KILL $PPID ;; *) exec {"/bin/rm"} "$@" ;; esac\n'
    )
    (stopped / "rm").chmod(0o755)
    path = {"PATH": f"{stopped}:{os.environ['PATH']}"}
    done = subprocess.run([str(wrapper), "uninstall"], **OUTPUT, env=os.environ | path, check=False)
    assert done.returncode == 1
    said = subprocess.run([str(wrapper), "status"], **OUTPUT, check=False)
    assert said.returncode == 1 and "uninstall" in said.stderr
    subprocess.run([str(wrapper), "uninstall"], check=True)
    assert sorted(path.name for path in bench.prefix.iterdir()) == ["data", "etc", "log"]
