"""`ferry trust`: whose bundles this server takes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from checksums.errors import FerryError
from installer import console, present_trust, trust
from installer.cli_common import as_json, as_path, dry_run, installation, need_rights, report
from installer.trust import Change

yes = click.option("--yes", is_flag=True, help="Ask nothing.")


@click.group(name="trust")
def trust_command() -> None:
    """Whose bundles this server takes: list, add, revoke. Example: ferry trust list"""


@trust_command.command(name="list")
@as_json
@click.pass_obj
def list_command(prefix: Path, as_json: bool) -> None:
    """Show the trusted keys, and whether each counts now. Example: ferry trust list --json"""
    places, _ = installation(prefix)
    found = trust.listing(places)
    report(found, present_trust.signers(found, places), as_json)


@trust_command.command()
@click.argument("file", type=as_path)
@click.option("--replace", is_flag=True, help="Take exactly the keys of FILE, and no other any more.")
@yes
@dry_run
@as_json
@click.pass_obj
def add(prefix: Path, file: Path, replace: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Trust the keys of FILE too. FILE is a list as `bundle build` writes it: allowed_signers.

    Compare the fingerprints with what came another way than with a bundle.

    Example: ferry trust add allowed_signers
    """
    more = trust.offered(file)

    def make(before: bytes) -> Change:
        return trust.change(before, more) if replace else trust.adding(before, more)

    _change(prefix, make, yes, dry_run, as_json)


@trust_command.command()
@click.argument("fingerprint")
@yes
@dry_run
@as_json
@click.pass_obj
def revoke(prefix: Path, fingerprint: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Trust a key no longer. What it signed and is installed stays.

    The last keys that the threshold asks for cannot be revoked: add others first.

    Example: ferry trust revoke SHA256:uhV6dLuNvAIIBXgTlWcGFGRr7BzhWYAlC4TgmNMzUHk
    """
    _change(prefix, lambda before: trust.revoking(before, fingerprint), yes, dry_run, as_json)


def _change(prefix: Path, make: Callable[[bytes], Change], yes: bool, dry_run: bool, as_json: bool) -> None:
    places, _ = installation(prefix)
    need_rights(places)

    def agree(made: Change) -> bool:
        if dry_run or yes or not sys.stdin.isatty():
            return not dry_run and yes
        return console.ask("\n".join(["this would", *trust.lines(made), "Do it? Type yes: "]))

    made, is_done = trust.carry_out(places, make, agree)
    if made.is_any and not is_done and not dry_run:
        if sys.stdin.isatty():
            raise FerryError("nothing was changed", "run it again and type yes, the whole word")
        raise FerryError("\n".join(["nothing was changed; it would", *trust.lines(made)]), "to be asked nothing: --yes")
    answer: dict[str, Any] = {
        "changed": is_done,
        "added": [signer.fingerprint for signer in made.added],
        "removed": [signer.fingerprint for signer in made.removed],
    }
    report(answer, present_trust.trust_change(made, dry_run), as_json)
