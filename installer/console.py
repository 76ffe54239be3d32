"""The terminal: what is asked and told there, and which exit status an error has."""

import json
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click

from checksums.errors import FerryError, UsageError

INTERRUPTED = 130


def note(text: str) -> None:
    """Show what the operator has to read, beside the result."""
    click.echo(text, err=True)


def ask(question: str) -> bool:
    """Put a question to the terminal; only a typed "yes" is one."""
    click.echo(question, err=True, nl=False)
    return sys.stdin.readline().strip() == "yes"


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
