"""The shell script that an uninstall turns `ferry` into, killed at each removal, before it and half-way through."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from installer import uninstall
from installer.places import Places, places_of

# Stands before rm in PATH: counts, and at one of the calls takes away one file and kills the shell that called.
SHIM = """\
#!/bin/sh
number=$(($(cat {count}) + 1))
echo $number >{count}
[ $number = {fatal} ] || exec {rm} "$@"
[ -z "{is_half}" ] || find "$3" -type f | head -n 1 | xargs -r {rm} -f
kill -KILL $PPID
"""


def lay_down(prefix: Path, purge: bool) -> Places:
    """Make all that an installation has, as far as removing it goes."""
    places = places_of(prefix, is_user=True)
    for folder in (places.releases, places.venvs, places.store, places.pythons, places.cache, places.run):
        (folder / "one").mkdir(parents=True)
        for name in ("first", "second"):
            (folder / "one" / name).write_text(name)
    for folder in uninstall.kept(places):
        folder.mkdir()
        (folder / "kept").write_text("kept")
    places.state.write_text("{}")
    places.current.symlink_to("releases/one")
    places.wrapper.parent.mkdir()
    places.wrapper.write_text(uninstall.render(places, purge))
    return places


def shim(folder: Path, fatal: int, is_half: bool) -> dict[str, str]:
    """Return an environment in which the removal of this number is fatal."""
    (folder / "count").write_text("0")
    text = SHIM.format(count=folder / "count", fatal=fatal, is_half="yes" if is_half else "", rm=shutil.which("rm"))
    program = folder / "shim" / "rm"
    program.parent.mkdir(exist_ok=True)
    program.write_text(text)
    program.chmod(0o755)
    return os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def finish(places: Places, environment: dict[str, str] | None = None) -> int:
    return subprocess.run(["sh", str(places.wrapper), "uninstall"], env=environment, check=False).returncode


def left(prefix: Path) -> set[str]:
    return {path.name for path in prefix.iterdir()} if prefix.exists() else set()


@pytest.mark.parametrize("purge", [False, True])
@pytest.mark.parametrize("is_half", [False, True], ids=["before it", "half-way"])
def test_whatever_kills_an_uninstall_the_same_command_does_the_rest(
    tmp_path: Path, purge: bool, is_half: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = set() if purge else {path.name for path in uninstall.kept(places_of(tmp_path, is_user=True))}
    fatal, status = 0, -9
    while status == -9:
        fatal += 1
        places = lay_down(tmp_path / f"{fatal}", purge)
        status = finish(places, shim(tmp_path, fatal, is_half))
        assert expected <= left(places.prefix)
        if status == -9 and places.wrapper.exists():
            assert finish(places) == 0
        elif status == -9:
            # Everything is gone, the command last; only its empty folder is left.
            places.wrapper.parent.rmdir()
        assert left(places.prefix) == expected
    assert status == 0 and fatal > len(uninstall.paths(places, purge))
    with capsys.disabled():
        print(f"\nuninstall{' --purge' if purge else ''}: killed at {fatal - 1} removals", end=" ")
