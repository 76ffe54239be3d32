"""`ferry verify`, `ferry inventory`: which files are here, and whether they are what was signed."""

from dataclasses import asdict
from pathlib import Path

import click

from checksums.errors import IntegrityError
from installer import files, installed, inventory, present
from installer.cli_common import as_json, as_path, installation, report
from installer.progress import Lines


@click.command(name="verify")
@as_json
@click.pass_obj
def verify_command(prefix: Path, as_json: bool) -> None:
    """Compare every installed file with the signed list. Example: ferry verify --json"""
    places, current = installation(prefix)
    problems = installed.verify(places, current.release, Lines())
    answer = {"ok": not problems, "problems": [asdict(problem) for problem in problems]}
    report(answer, present.problems(current.release, problems), as_json)
    if problems:
        click.get_current_context().exit(IntegrityError.exit_code)


@click.command(name="inventory")
@click.option("--out", type=as_path, help="Write it into this file.")
@as_json
@click.pass_obj
def inventory_command(prefix: Path, out: Path | None, as_json: bool) -> None:
    """Say which files are here, for a delta that leaves them out. Example: ferry inventory --out inventory.json

    The answer is JSON with or without --json. It is no secret and needs no trust; carry it to the connected host and
    give it to: python -m bundle build --base inventory.json
    """
    places, current = installation(prefix)
    taken = inventory.take(places, current, Lines())
    if out:
        files.write(out, taken.render())
    if out and not as_json:
        click.echo(present.inventory(taken, out))
    else:
        click.echo(taken.render().decode(), nl=False)
