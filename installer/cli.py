"""The command line of the server's side: `install` for install.sh, and everything that `ferry` does.

A command parses, calls one function of the core and presents what it returns. Results go to standard output, steps and
errors to standard error; with --json an error is an object on standard output.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from checksums.errors import FerryError, HealthError, UsageError
from installer import (
    admin,
    audit,
    files,
    installed,
    inventory,
    network,
    present,
    settings,
    starting,
    state,
    transaction,
    uninstall,
)
from installer.cli_audit import audit_command
from installer.cli_backup import backup_command, restore_command
from installer.cli_common import as_json, as_path, deadline, dry_run, installation, need_rights, report
from installer.cli_doctor import doctor_command
from installer.cli_release import recover_command, rollback_command, upgrade_command
from installer.cli_repair import repair_command
from installer.cli_trust import trust_group
from installer.host import host_of
from installer.install import Outcome, Request
from installer.install import install as install_bundle
from installer.places import ROOT_PREFIX, Places, places_of
from installer.progress import Lines
from installer.state import State
from installer.status import status as status_of
from installer.verify import Trust

INTEGRITY = 3
handed_on = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.option("--prefix", type=as_path, default=ROOT_PREFIX, help="Where Ferry is installed.", show_default=True)
@click.option("--debug", is_flag=True, expose_value=False, help="Show where an error comes from.")
@click.pass_context
def cli(context: click.Context, prefix: Path) -> None:
    """Run a private chat service that came as one signed bundle. Example: ferry status --json"""
    context.obj = prefix
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(UsageError.exit_code)


@cli.command(hidden=True)
@click.argument("bundle", type=as_path, nargs=-1, required=True)
@click.option("--user-mode", is_flag=True)
@click.option("--listen")
@click.option("--allowed-signers", type=as_path)
@click.option("--threshold", type=click.IntRange(1, settings.MAX_THRESHOLD))
@click.option("--accept-signers")
@click.option("--insecure-unsigned", is_flag=True)
@click.option("--accept-license", is_flag=True)
@click.option("--yes", is_flag=True)
@click.option("--host-python", is_flag=True)
@deadline
@dry_run
@as_json
@click.pass_obj
def install(
    prefix: Path,
    bundle: tuple[Path, ...],
    user_mode: bool,
    listen: str | None,
    allowed_signers: Path | None,
    threshold: int | None,
    accept_signers: str | None,
    insecure_unsigned: bool,
    accept_license: bool,
    yes: bool,
    host_python: bool,
    deadline_s: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Install a bundle, or the parts of one in any order, or upgrade to it."""
    if listen is not None and not network.is_address(listen):
        raise UsageError(f"--listen {listen}: not of the form ADDRESS:PORT", "for example: --listen 0.0.0.0:8080")
    ask = present.ask if sys.stdin.isatty() and not yes else None
    # The interpreter under any virtual environment: ours must not depend on somebody else's environment.
    python = Path(sys.executable).resolve()
    places = places_of(prefix, user_mode)
    trust = Trust(allowed_signers, insecure_unsigned, settings.threshold_of(places, threshold))
    request = Request(
        bundle, places, trust, python, listen, accept_license, dry_run, ask, host_python, accept_signers, deadline_s,
        is_watched=sys.stderr.isatty() and not as_json,
    )  # fmt: skip
    outcome = install_bundle(request, Lines(), present.note)
    if outcome.is_changed:
        now = state.read(places)
        before = now.previous if now else None
        event = "upgrade" if before else "install"
        audit.record(places, event, Lines(), release=outcome.release, before=before)
    report(_outcome_object(outcome), present.outcome(outcome, places, dry_run), as_json)


@cli.command()
@as_json
@click.pass_obj
def status(prefix: Path, as_json: bool) -> None:
    """Say what runs, and whether it answers. Example: ferry status --json"""
    places, current = installation(prefix)
    _report_status(places, current, as_json)


@cli.command()
@dry_run
@as_json
@click.pass_obj
def start(prefix: Path, dry_run: bool, as_json: bool) -> None:
    """Start the service and wait until it can answer. Example: ferry start"""
    places, current = installation(prefix)
    need_rights(places)
    if dry_run:
        present.note(f"would start Ferry {current.version}, and wait until it can answer")
    else:
        transaction.recover(places, Lines())
        _started(places)
    _report_status(places, current, as_json)


@cli.command()
@dry_run
@as_json
@click.pass_obj
def stop(prefix: Path, dry_run: bool, as_json: bool) -> None:
    """Stop the service; at most 10 seconds. Example: ferry stop"""
    places, current = installation(prefix)
    need_rights(places)
    if dry_run:
        present.note(f"would stop Ferry {current.version}")
    else:
        host_of(places).stop()
    _report_status(places, current, as_json)


@cli.command()
@as_json
@click.pass_obj
def verify(prefix: Path, as_json: bool) -> None:
    """Compare every installed file with the signed list. Example: ferry verify --json"""
    places, current = installation(prefix)
    problems = installed.verify(places, current.release, Lines())
    answer = {"ok": not problems, "problems": [asdict(problem) for problem in problems]}
    report(answer, present.problems(current.release, problems), as_json)
    if problems:
        click.get_current_context().exit(INTEGRITY)


@cli.command(name="inventory")
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


@cli.command(name="uninstall")
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
        if sys.stdin.isatty() and not yes and not present.ask(question):
            raise FerryError("nothing was removed", "to be asked nothing: ferry uninstall --yes")
        uninstall.uninstall(places, purge, Lines())
    kept = [] if purge else uninstall.kept(places)
    text = present.removed(paths, uninstall.users(places, purge), kept, dry_run)
    report({"release": current.release, "paths": [str(path) for path in paths]}, text, as_json)


OURS = (
    trust_group,
    upgrade_command,
    rollback_command,
    repair_command,
    recover_command,
    backup_command,
    restore_command,
    audit_command,
)
for _command in OURS:
    cli.add_command(_command)
cli.add_command(doctor_command)


def _handed_on(name: str, text: str) -> None:
    """Add a command that the release's own Python carries out, options and all."""

    @cli.command(name=name, help=text, context_settings=handed_on, add_help_option=False)
    @click.pass_context
    def command(context: click.Context) -> None:
        places, _ = installation(context.obj)
        need_rights(places)
        admin.become(places, name, *context.args)


_handed_on("user", "Accounts: add, list, passwd, enable, disable. Example: ferry user add alice")
_handed_on("key", "API keys: add, list, revoke. Example: ferry key add reports")
_handed_on("selftest", "Ask the model a question through the whole service. Example: ferry selftest")


def _started(places: Places) -> None:
    try:
        starting.start(places, host_of(places), Lines())
    except HealthError as error:
        # Nothing was rolled back: that is what its own exit status would say.
        raise FerryError(error.message, error.hint) from error


def _outcome_object(outcome: Outcome) -> dict[str, Any]:
    answer = {name: getattr(outcome, name) for name in ("release", "version", "url", "user", "password")}
    return answer | ({"signers": outcome.rotation.as_object()} if outcome.rotation else {})


def _report_status(places: Places, current: State, as_json: bool) -> None:
    found = status_of(places, current)
    report(asdict(found), present.status(found, places), as_json)


def main() -> None:
    """Run the command line and end the process."""
    present.run(cli)
