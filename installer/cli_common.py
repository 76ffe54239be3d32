"""What the commands of `ferry` share: their common options, the installation that they work on, and their report."""

import json
import os
from pathlib import Path
from typing import Any

import click

from checksums.errors import HostError
from installer import state
from installer.places import Places, places_of
from installer.state import State

as_json = click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
deadline = click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="How long the release may take until it has answered; by default as long as its weights need.",
)
as_path = click.Path(path_type=Path)


def installation(prefix: Path) -> tuple[Places, State]:
    """Return the places and the state of what is installed; FerryError where nothing is."""
    root_places = places_of(prefix, is_user=False)
    current = state.need(root_places)
    return places_of(prefix, is_user=current.mode == "user"), current


def need_rights(places: Places) -> None:
    """Raise HostError where only root may go on."""
    if not places.is_user and os.geteuid() != 0:
        raise HostError("this needs root", "run it again with sudo")


def report(answer: dict[str, Any], text: str, as_json: bool) -> None:
    """Show a result on standard output."""
    click.echo(json.dumps(answer, indent=1) if as_json else text)
