"""The make targets, as a newcomer calls them, in a copy of the checkout."""

import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what git would carry, with this checkout's development environment."""
    copy = tmp_path_factory.mktemp("checkout")
    files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(files, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, copy / name)
    (copy / ".venv").symlink_to(CHECKOUT / ".venv")
    yield copy
    make(copy, "demo-stop")
    shutil.rmtree(copy)


def make(checkout: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without what the make around us said: its -k or -j is not a newcomer's.
    clean = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    settings = clean | {"SOURCE_DATE_EPOCH": "1735689600"} | environment
    command = ["make", "--no-print-directory", *words]
    return subprocess.run(command, cwd=checkout, env=settings, capture_output=True, text=True, check=False)


def test_setup_does_nothing_when_nothing_changed(checkout: Path) -> None:
    done = make(checkout, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_setup_says_what_it_needs_of_python(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    done = make(checkout, "setup", f"PYTHON3={old}")
    assert done.returncode == 2
    assert "error: Python 3.9.2 is too old" in done.stderr and "PYTHON3=" in done.stderr
    assert "no-such-python: command not found" in make(checkout, "setup", "PYTHON3=no-such-python").stderr


def test_bundle_shows_what_failed_and_leaves_no_bundle(checkout: Path, tmp_path: Path) -> None:
    """The hub is asked before anything large is fetched; the first use makes a key that only its owner can read."""
    hub, out = "http://127.0.0.1:9", tmp_path / "dist"
    done = make(checkout, "bundle", f"OUT={out}", "PYTHON=host", f"MODELSCOPE_ENDPOINT={hub}", HOME=str(tmp_path))
    assert done.returncode == 2
    assert re.search(rf"error: .*{re.escape(hub)}", done.stderr)
    assert not out.exists() or list(out.iterdir()) == []
    key = tmp_path / ".config/ferry/signing_key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.timeout(900)
def test_demo_answers_and_answers_again_and_stops(checkout: Path) -> None:
    first = make(checkout, "demo")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Paris" in first.stdout
    login = re.search(r"running at (http://127\.0\.0\.1:\d+)\n+user: +(\S+)\npassword: +(\S+)", first.stdout)
    assert login, first.stdout

    began = time.monotonic()
    second = make(checkout, "demo")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Paris" in second.stdout and login.group() in second.stdout
    assert time.monotonic() - began < 120

    assert processes(checkout) != []
    assert make(checkout, "demo-stop").returncode == 0
    assert processes(checkout) == []


def processes(checkout: Path) -> list[str]:
    """Return the command lines of what runs out of the demo's folder."""
    found = []
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            where, command = (proc / "cwd").readlink(), (proc / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{checkout}/.demo" in f"{where} {command!r}":
            found.append(command.decode(errors="replace"))
    return found
