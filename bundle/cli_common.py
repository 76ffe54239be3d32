"""What every command of the build side takes: --json, --quiet and --debug."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bundle.progress import Progress
from checksums.errors import IntegrityError

Command = Callable[..., Any]


def _be_quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.obj = Progress(value)


def everywhere(command: Command) -> Command:
    """Add the options that every command has; the context's object is its Progress."""
    command = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)
    quiet = click.option("--quiet", is_flag=True, expose_value=False, callback=_be_quiet, help="No progress, no notes.")
    command = quiet(command)
    return click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")(command)


@contextmanager
def about(*bundle: Path) -> Iterator[None]:
    """Let what is wrong with a bundle name its file too: several may be looked at, one after the other."""
    try:
        yield
    except IntegrityError as error:
        name = bundle[0].name
        raise IntegrityError(
            error.message if name in error.message else f"{name}: {error.message}", error.hint
        ) from error
