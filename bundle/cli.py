"""The command line of the build side: parses, calls one function, presents its result or its error.

Results go to stdout, progress and errors to stderr. Exit codes are the contract's.
"""

import errno
import json
import signal
import sys
import traceback
from importlib import import_module
from typing import NoReturn

import click

from checksums.errors import FerryError, UsageError

INTERRUPTED = 130
# Command -> its module and name there. What fetches takes a third of a second to import, and only some commands fetch.
COMMANDS = {
    "build": ("cli_build", "build"),
    "diff": ("cli_look", "diff"),
    "inspect": ("cli_look", "inspect"),
    "join": ("cli_media", "join"),
    "lock": ("cli_lock", "lock_command"),
    "plan": ("cli_build", "plan"),
    "profiles": ("cli_look", "profiles_command"),
    "split": ("cli_media", "split"),
    "verify": ("cli_verify", "verify"),
}


def main() -> NoReturn:
    """Run one command and exit with its status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored: then it stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    # A name that is not UTF-8 is shown by its bytes; it must not end the command.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(FerryError("interrupted", "run the same command again: what was fetched is kept"), INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(UsageError.exit_code)
    except click.ClickException as error:
        hint = f"see: {error.ctx.command_path} --help" if isinstance(error, click.UsageError) and error.ctx else ""
        _fail(UsageError(error.format_message(), hint), UsageError.exit_code)
    except FerryError as error:
        _fail(error, error.exit_code)
    except OSError as error:
        _fail(FerryError(f"{error.filename or 'the disk'}: {error.strerror or error}", _hint(error)), 1)
    except Exception as error:
        _fail(FerryError(f"a fault in Ferry: {type(error).__name__}: {error}", "report it with what --debug shows"), 1)
    sys.exit(0)


def _hint(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "free some space, then run the same command again: what was fetched is kept in ~/.cache/ferry"
    return "check space and permissions"


def _fail(error: FerryError, status: int) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exc()
    if "--json" in sys.argv:
        click.echo(json.dumps({"error": error.message, "hint": error.hint, "exit_code": status}))
    else:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
    sys.exit(status)


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Return their names."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Return a command, None where there is none of this name."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(import_module(f"bundle.{module}"), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Make a Ferry bundle: a chat model and everything that serves it, in one signed tarball."""
