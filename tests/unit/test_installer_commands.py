"""The commands of `ferry`: each is found, and a small one does not wait for what the large ones need."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from checksums.errors import IntegrityError
from installer.cli import COMMANDS, cli

ASK = "import sys; from installer.cli import cli; cli.get_command(None, sys.argv[1]); print(*sys.modules)"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_where_the_table_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name and (command.help or "").strip()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("user", {"tqdm", "installer.install", "installer.transaction", "checksums.manifest"}),
        ("status", {"tqdm", "installer.install", "installer.areas"}),
        ("verify", {"tqdm", "installer.install", "installer.repair"}),
    ],
)
def test_a_command_imports_what_it_needs(name: str, absent: set[str]) -> None:
    done = subprocess.run([sys.executable, "-c", ASK, name], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert f"installer.{COMMANDS[name]}" in loaded and not loaded & absent


def test_a_command_that_cannot_be_imported_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "installer.cli_verify", None)
    with pytest.raises(IntegrityError, match=r"is damaged: .*installer\.cli_verify") as failed:
        cli.get_command(click.Context(cli), "verify")
    assert failed.value.exit_code == 3 and "install the same bundle again" in failed.value.hint
