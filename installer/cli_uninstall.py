"""`ferry uninstall`: Ferry leaves."""

import sys
from pathlib import Path

import click

from checksums.errors import FerryError
from installer import console, present, uninstall
from installer.cli_common import as_json, dry_run, installation, need_rights, report
from installer.progress import Lines


@click.command(name="uninstall")
@click.option("--purge", is_flag=True, help="Remove settings, accounts, conversations, logs and users too.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@dry_run
@as_json
@click.pass_obj
def uninstall_command(prefix: Path, purge: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Take Ferry away; settings and data stay. Example: ferry uninstall --purge"""
    places, current = installation(prefix)
    need_rights(places)
    paths = uninstall.paths(places, purge)
    if not dry_run:
        question = f"remove Ferry {current.version}{', its accounts and conversations' if purge else ''}? Type yes: "
        if sys.stdin.isatty() and not yes and not console.ask(question):
            raise FerryError("nothing was removed", "to be asked nothing: ferry uninstall --yes")
        uninstall.uninstall(places, purge, Lines())
    kept = [] if purge else uninstall.kept(places)
    text = present.removed(paths, uninstall.users(places, purge), kept, dry_run)
    report({"release": current.release, "paths": [str(path) for path in paths]}, text, as_json)
