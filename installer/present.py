"""How results, questions and errors look to a person, and which exit status an error has."""

import json
import logging
import platform
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from checksums.errors import FerryError, UsageError
from checksums.inventory import Inventory
from installer import trust
from installer.install import Outcome
from installer.installed import Problem
from installer.places import Places
from installer.rotation import Rotation
from installer.status import Status
from installer.trust import Change

INTERRUPTED = 130


def note(text: str) -> None:
    """Show what the operator has to read, beside the result."""
    click.echo(text, err=True)


def ask(question: str) -> bool:
    """Put a question to the terminal; only a typed "yes" is one."""
    click.echo(question, err=True, nl=False)
    return sys.stdin.readline().strip() == "yes"


def outcome(done: Outcome, places: Places, is_dry_run: bool) -> str:
    """Return what an install did."""
    if done.is_same:
        what = f"{done.mended} damaged files or folders were mended" if done.mended else "nothing was changed"
        lines = [f"{done.release} is installed already; {what}", "see: ferry status; ferry verify"]
        return "\n".join([*lines, *([f"but {rotation(done.rotation)}"] if done.rotation else [])])
    if is_dry_run:
        return f"{done.release}: can be installed"
    lines = [f"Ferry {done.version} is running at {done.url}"]
    host, _, port = (done.listen or "").rpartition(":")
    if host in {"0.0.0.0", "[::]"}:
        lines.append(f"from other machines: http://{platform.node()}:{port} (or any address of this server)")
    lines.append(f"the command: {places.wrapper}")
    if done.password:
        lines += [f"user:     {done.user}", f"password: {done.password}   (for the first login; shown this once)"]
    if done.rotation:
        lines.append(rotation(done.rotation))
    return "\n".join(lines)


def status(found: Status, places: Places) -> str:
    """Return the state in a few lines."""
    ready = "" if found.state != "running" or not found.url else ", ready" if found.ready else ", not ready yet"
    lines = [f"release {found.release}", f"state   {found.state}{ready}"]
    lines.append(f"address {found.url or 'unknown'}")
    if found.problem:
        lines.append(f"note    {found.problem}")
    if found.state == "failed":
        logs = f"the files in {places.log}" if places.is_user else "journalctl -u ferry -u ferry-engine"
        lines.append(f"see     {logs}; to try again: ferry start")
    return "\n".join(lines)


def removed(paths: Sequence[Path], users: Sequence[str], kept: Sequence[Path], is_dry_run: bool) -> str:
    """Return what an uninstall takes away and what stays."""
    verb = "would remove" if is_dry_run else "removed"
    lines = [f"{verb} {path}" for path in paths] + [f"{verb} the user {user}" for user in users]
    return "\n".join([*lines, *(f"kept {path}" for path in kept)])


def signers(found: Mapping[str, Any], places: Places) -> str:
    """Return the keys that this server trusts."""
    lines = [f"{places.allowed_signers}: {found['threshold']} of these keys must sign a bundle"]
    for key in found["keys"]:
        limits = [f"{word} {key[at]}" for word, at in (("from", "valid_after"), ("until", "valid_before")) if key[at]]
        counts = f"does not count: {key['why']}" if key["why"] else "counts"
        lines.append("  ".join([key["fingerprint"], key["type"], counts, *limits, key["comment"]]).rstrip())
    return "\n".join(lines)


def trust_change(made: Change, is_dry_run: bool) -> str:
    """Return what became of a change of the list of trusted keys."""
    if not made.is_any:
        return "nothing to change: the list says so already"
    return "\n".join(["would change" if is_dry_run else "changed", *trust.lines(made)])


def rotation(done: Rotation) -> str:
    """Return what came of the list of keys that a bundle brought."""
    what = "is now this server's" if done.is_taken else f"was not taken; {done.hint}"
    return "\n".join([f"the bundle's list of trusted keys {what}", *trust.lines(done.change)])


def problems(release: str, found: Sequence[Problem]) -> str:
    """Return what `verify` found."""
    if not found:
        return f"{release}: every file is what was signed"
    return "\n".join([*(f"{problem.path}: {problem.problem}" for problem in found), "to mend it: ferry repair"])


def inventory(taken: Inventory, out: Path) -> str:
    """Return what was written into an inventory."""
    gigabytes = sum(taken.files.values()) / 1e9
    return f"{out}: {len(taken.files)} files of {taken.release}, {gigabytes:.2f} GB"


def run(command: Callable[..., Any]) -> NoReturn:
    """Run a click command and end the process with the contract's exit status."""
    # A name that is not UTF-8 is shown by its bytes; it must not end the command.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    _on_signals(_interrupt)
    try:
        status = command.main(prog_name="ferry", standalone_mode=False)  # type: ignore[attr-defined]
    except (KeyboardInterrupt, click.Abort):
        error: FerryError = FerryError("interrupted; what was begun was taken back", "run it again")
        status = INTERRUPTED
    except click.ClickException as wrong:
        context = wrong.ctx if isinstance(wrong, click.UsageError) else None
        hint = f"see: {context.command_path if context else 'ferry'} --help"
        error, status = UsageError(wrong.format_message(), hint), UsageError.exit_code
    except FerryError as failed:
        error, status = failed, failed.exit_code
    except OSError as failed:
        where = f"{failed.filename}: " if failed.filename else ""
        error, status = FerryError(f"{where}{failed.strerror or failed}", "mend it, then run the same again"), 1
    except Exception as fault:
        error, status = _of_fault(fault), FerryError.exit_code
    else:
        sys.exit(status if isinstance(status, int) else 0)
    if "--debug" in sys.argv:
        traceback.print_exc()
    _complain(error, status)
    sys.exit(status)


def _of_fault(fault: Exception) -> FerryError:
    """Return our error for what nobody foresaw; what was begun has been taken back on the way here."""
    return FerryError(f"a fault in Ferry: {type(fault).__name__}: {fault}", "report it with what --debug shows")


def _complain(error: FerryError, status: int) -> None:
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": error.message, "hint": error.hint, "exit_code": status}))
        return
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)


def _on_signals(handler: Callable[[int, object], None]) -> None:
    """A terminal that is closed and a `kill` take back what was begun, as Ctrl-C does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _nothing(_number: int, _frame: object) -> None:
    """Let a signal pass."""


def _interrupt(_number: int, _frame: object) -> NoReturn:
    # Whoever is impatient and asks again must not break off the way back. Not SIG_IGN: what is started meanwhile would
    # inherit that, and never hear of a stop.
    _on_signals(_nothing)
    raise KeyboardInterrupt
