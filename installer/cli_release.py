"""`ferry upgrade`, `ferry rollback`, `ferry recover`: which release runs."""

import sys
from pathlib import Path

import click

from installer import audit, console, journal, rollback, state, transaction, upgrade
from installer.cli_common import as_json, as_path, deadline, dry_run, installation, need_rights, report
from installer.places import Places, places_of
from installer.progress import Lines
from installer.status import url_of

yes = click.option("--yes", is_flag=True, help="Ask nothing.")


@click.command(name="upgrade")
@click.argument("bundle", type=as_path, nargs=-1, required=True)
@click.option("--accept-license", is_flag=True, help="Accept the model's licence where it restricts the use.")
@click.option(
    "--accept-signers", metavar="DIGEST", help="Take the list of keys that the bundle brings, if it is this one."
)
@click.option("--insecure-unsigned", is_flag=True, help="Take a bundle that nobody signed.")
@click.option("--python", metavar="PATH", help="The server's interpreter to run on, where the bundle brings none.")
@deadline
@yes
@dry_run
@as_json
@click.pass_obj
def upgrade_command(
    prefix: Path,
    bundle: tuple[Path, ...],
    accept_license: bool,
    accept_signers: str | None,
    insecure_unsigned: bool,
    python: str | None,
    deadline_s: float | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Upgrade to a bundle, or to the parts of one in any order.

    The server's own list of keys decides whether it is taken. The release that runs stays until the new one has
    answered a question, and comes back by itself when that one does not (exit status 5).

    Example: ferry upgrade /media/usb/ferry-qwen1.5-0.5b-chat-1.2.0-x86_64.tar
    """
    places, _ = installation(prefix)
    need_rights(places)
    flags = {"--accept-license": accept_license, "--yes": yes, "--dry-run": dry_run, "--json": as_json}
    values = {"--accept-signers": accept_signers, "--deadline": deadline_s}
    words = [flag for flag, is_set in flags.items() if is_set]
    words += [word for name, value in values.items() if value is not None for word in (name, str(value))]
    upgrade.hand_over(places, [path.absolute() for path in bundle], insecure_unsigned, python, words)


@click.command(name="rollback")
@yes
@dry_run
@as_json
@click.pass_obj
def rollback_command(prefix: Path, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Go back to the release before this one, with today's settings, accounts and conversations.

    Where the older release cannot keep all of the data, this says what would be lost, and asks.

    Example: ferry rollback --dry-run
    """
    places, _ = installation(prefix)
    need_rights(places)
    if dry_run:
        plan = rollback.make_plan(places)
        text = f"{rollback.describe(plan)}\nchanged: nothing (--dry-run)"
    else:
        ask = console.ask if sys.stdin.isatty() and not yes else None
        plan = rollback.rollback(places, ask, yes, Lines())
        if not plan.is_done:
            audit.record(places, "rollback", Lines(), release=plan.release, before=plan.before.release)
        text = f"{rollback.describe(plan)}\nFerry {plan.version} is running at {url_of(places)}"
    answer = {"release": plan.release, "version": plan.version, "from": plan.before.release, "losses": [*plan.losses]}
    report(answer, text, as_json)


@click.command(name="recover")
@click.option("--boot", is_flag=True, hidden=True)
@as_json
@click.pass_obj
def recover_command(prefix: Path, boot: bool, as_json: bool) -> None:
    """Take back what an interrupted install, upgrade or repair had begun; nothing to do is fine.

    Every command that changes something does so first, and so does the server when it starts. Example: ferry recover
    """
    places = _places(prefix)
    need_rights(places)
    found = transaction.recover(places, Lines(), waits=True, is_boot=boot)
    verb = "finished" if found and found.is_committed else "taken back"
    text = f"the interrupted {found.command} was {verb}" if found else "nothing was interrupted"
    report({"command": found.command if found else None}, text, as_json)


def _places(prefix: Path) -> Places:
    """Return the places of an installation whose state may not be there yet, or no more."""
    places = places_of(prefix, is_user=False)
    broken_off = journal.read(places)
    current = None if broken_off else state.read(places)
    mode = broken_off.mode if broken_off else current.mode if current else places.mode
    return places_of(prefix, is_user=mode == "user")
