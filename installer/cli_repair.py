"""`ferry repair`: mend what `ferry verify` finds."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from installer import console, repair, settings, transaction
from installer.cli_common import as_json, as_path, dry_run, installation, need_rights, report
from installer.installed import Problem
from installer.places import Places
from installer.progress import Lines
from installer.repair import Outcome
from installer.verify import Trust, VerifiedBundle, open_bundle, open_file


@click.command(name="repair")
@click.argument("bundle", type=as_path, nargs=-1)
@click.option("--yes", is_flag=True, help="Ask nothing.")
@dry_run
@as_json
@click.pass_obj
def repair_command(prefix: Path, bundle: tuple[Path, ...], yes: bool, dry_run: bool, as_json: bool) -> None:
    """Restore every file that ferry verify names, or change nothing.

    What is whole on this server needs no bundle. For the rest give one, or its parts: of this release or another, as
    long as it has the files. The keys that this server trusts must have signed it.

    Example: ferry repair ferry-demo-1.0.0-x86_64.tar
    """
    places, current = installation(prefix)
    need_rights(places)
    if not dry_run:
        transaction.recover(places, Lines())
    ask = _ask if sys.stdin.isatty() and not yes else None
    with _opened(places, bundle) as opened:
        outcome = repair.repair(places, current, opened, Lines(), dry_run, ask)
    answer = {
        "release": outcome.release,
        "repaired": [] if dry_run else [asdict(problem) for problem in outcome.problems],
        "problems": [asdict(problem) for problem in outcome.problems],
        "url": outcome.url,
    }
    report(answer, text_of(outcome, dry_run), as_json)


def text_of(outcome: Outcome, is_dry_run: bool) -> str:
    """Return what was mended, or would be."""
    if not outcome.problems:
        return f"{outcome.release}: every file is what was signed; nothing to repair"
    verb = "would restore" if is_dry_run else "restored"
    lines = [f"{verb} {problem.path} ({problem.problem})" for problem in outcome.problems]
    if is_dry_run:
        return "\n".join([*lines, "changed: nothing (--dry-run)"])
    running = [f"Ferry {outcome.version} was started again and answers at {outcome.url}"] if outcome.url else []
    return "\n".join([*lines, *running])


@contextmanager
def _opened(places: Places, paths: Sequence[Path]) -> Iterator[VerifiedBundle | None]:
    """Open a bundle that this server's own list of keys vouches for, where one is given."""
    if not paths:
        yield None
        return
    with open_file(paths) as stream:
        Lines().step("verifying the signed head of the bundle")
        yield open_bundle(stream, Trust(places.allowed_signers, threshold=settings.threshold_of(places, None)))


def _ask(problems: Sequence[Problem]) -> bool:
    names = "\n".join(f"{problem.path}: {problem.problem}" for problem in problems)
    return console.ask(f"{names}\nrestore {len(problems)}? Type yes: ")
