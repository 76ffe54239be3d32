"""The build side's command line: exit codes, one error and one hint, and JSON where it was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bundle import profiles

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bundle", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("pack",),
        ("build",),
        ("build", "--profile", "demo"),
        ("build", "--profile", "nothing", "--out", "dist"),
        ("build", "--profile", "demo", "--out", "dist", "--python", "no-such-archive.tar.gz"),
        ("build", "--profile", "demo", "--out", "dist", "--sequence", "-1"),
        ("build", "--profile", "demo", "--out", "dist", "--version", "a b"),
        ("build", "--profile", "demo", "--out", "dist", "--version", "1..0"),
        ("build", "--profile", "demo", "--out", "dist", "--version", "1" * 70),
        ("inspect", "no-such-file.tar"),
        ("verify", "no-such-file.tar"),
        ("build", "--profile", "demo", "--out", "dist", "--base", "no-such-file.json"),
        ("build", "--profile", "demo", "--out", "dist", "--split", "1K"),
        ("split", "no-such-file.tar", "--size", "4G"),
        ("join", "no-such-file.tar.001"),
        ("verify", "no-such-file.tar.001", "no-such-file.tar.002"),
    ],
)
def test_wrong_usage_exits_2_and_prints_nothing_on_stdout(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") or not arguments


def test_an_error_is_one_json_object_where_json_was_asked_for() -> None:
    done = run("plan", "--profile", "nothing", "--json")
    assert json.loads(done.stdout) == {
        "error": "nothing: no such profile",
        "hint": f"one of: {', '.join(profiles.names())}, or a path to a .toml file",
        "exit_code": 2,
    }
    assert done.stderr == ""


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_a_name_that_is_not_utf_8_is_shown_and_is_valid_json(locale: str) -> None:
    command = [os.fsencode(sys.executable), b"-m", b"bundle", b"verify", b"no\xff\nsuch.tar"]
    environment = {**os.environ, "LC_ALL": locale}
    plain = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    asked = subprocess.run([*command, b"--json"], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (plain.returncode, asked.returncode) == (2, 2) and b"Traceback" not in plain.stderr + asked.stderr
    assert json.loads(asked.stdout.decode("ascii"))["error"].startswith("no\udcff\nsuch.tar")


@pytest.mark.parametrize("command", ["build", "plan", "lock", "inspect", "verify", "profiles", "split", "join"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"python -m bundle {command}" in done.stdout


def test_a_file_that_is_no_bundle_exits_3(tmp_path: Path) -> None:
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "noise.tar").write_bytes(os.urandom(4096))
    for name in ("empty.tar", "noise.tar"):
        for command in ("inspect", "verify"):
            done = run(command, str(tmp_path / name))
            assert done.returncode == 3, done.stderr
            assert "Traceback" not in done.stderr


def test_a_date_that_is_no_number_is_wrong_usage() -> None:
    done = run("plan", "--profile", "demo", SOURCE_DATE_EPOCH="yesterday")
    assert done.returncode == 2
    assert "SOURCE_DATE_EPOCH: 'yesterday'" in done.stderr


def test_a_plan_comes_from_the_committed_lock(tmp_path: Path) -> None:
    demo = (ROOT / "bundle" / "profiles" / "demo.toml").read_text()
    fixed = demo.replace('python = "this"', 'python = "3.11"').replace('platform = "this"', 'platform = "x86_64"')
    (tmp_path / "mine.toml").write_text(fixed)
    plan = json.loads(run("plan", "--profile", str(tmp_path / "mine.toml"), "--json").stdout)
    assert plan["lock"] == "bundle/locks/cp311-x86_64-glibc2.28.txt"
    assert plan["total_size"] == plan["size"] + plan["model"]["size"]
    assert plan["unknown_sizes"] == []
    assert plan["model"]["size"] == 92_871_040
    assert {"torch", "flask", "uv"} <= {wheel["file"].partition("-")[0] for wheel in plan["wheels"]}


NO_NETWORK = """
import socket

def refuse(*_):
    raise SystemExit("a plan from a lock has no business on a network")

socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
"""


@pytest.mark.parametrize("name", [name for name in profiles.names() if name != "demo"])
def test_the_plan_of_a_profile_needs_no_network(tmp_path: Path, name: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    environment = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = run("plan", "--profile", name, "--json", PYTHONPATH=f"{tmp_path}:{ROOT}", **environment)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["model"]["id"].lower() == f"qwen/{name}"
    assert (plan["model"]["files"], plan["model"]["commit"]) == ([], "")
    assert plan["python"]["source"] == "standalone"
    assert plan["python"]["file"].startswith("cpython-3.11.")
    assert len(plan["wheels"]) > len(plan["requirements"]) > 10
    assert "model" in plan["unknown_sizes"]


@pytest.mark.parametrize("options", [("--ask-hub",), ("--hub-endpoint", "http://127.0.0.1:9")])
def test_a_hub_that_is_asked_and_away_is_an_error(options: tuple[str, ...]) -> None:
    done = run("plan", "--profile", "qwen3-0.6b", *options, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "the hub at http://127.0.0.1:9 does not answer" in done.stderr
