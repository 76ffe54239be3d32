"""`ferry status`, `ferry start`, `ferry stop`: whether the service runs."""

from dataclasses import asdict
from pathlib import Path

import click

from checksums.errors import FerryError, HealthError
from installer import console, present, starting, transaction
from installer.cli_common import as_json, dry_run, installation, need_rights, report
from installer.host import host_of
from installer.places import Places
from installer.progress import Lines
from installer.state import State
from installer.status import status as status_of


@click.command(name="status")
@as_json
@click.pass_obj
def status_command(prefix: Path, as_json: bool) -> None:
    """Say what runs, and whether it answers. Example: ferry status --json"""
    places, current = installation(prefix)
    _report_status(places, current, as_json)


@click.command(name="start")
@dry_run
@as_json
@click.pass_obj
def start_command(prefix: Path, dry_run: bool, as_json: bool) -> None:
    """Start the service and wait until it can answer. Example: ferry start"""
    places, current = installation(prefix)
    need_rights(places)
    if dry_run:
        console.note(f"would start Ferry {current.version}, and wait until it can answer")
    else:
        transaction.recover(places, Lines())
        _started(places)
    _report_status(places, current, as_json)


@click.command(name="stop")
@dry_run
@as_json
@click.pass_obj
def stop_command(prefix: Path, dry_run: bool, as_json: bool) -> None:
    """Stop the service; at most 10 seconds. Example: ferry stop"""
    places, current = installation(prefix)
    need_rights(places)
    if dry_run:
        console.note(f"would stop Ferry {current.version}")
    else:
        host_of(places).stop()
    _report_status(places, current, as_json)


def _started(places: Places) -> None:
    try:
        starting.start(places, host_of(places), Lines())
    except HealthError as error:
        # Nothing was rolled back: that is what its own exit status would say.
        raise FerryError(error.message, error.hint) from error


def _report_status(places: Places, current: State, as_json: bool) -> None:
    found = status_of(places, current)
    report(asdict(found), present.status(found, places), as_json)
