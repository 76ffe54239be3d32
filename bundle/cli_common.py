"""What every command of the build side takes: --json, --quiet and --debug."""

from collections.abc import Callable
from typing import Any

import click

from bundle.progress import Progress

Command = Callable[..., Any]


def _be_quiet(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.obj = Progress(value)


def everywhere(command: Command) -> Command:
    """Add the options that every command has; the context's object is its Progress."""
    command = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)
    quiet = click.option("--quiet", is_flag=True, expose_value=False, callback=_be_quiet, help="No progress, no notes.")
    command = quiet(command)
    return click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")(command)
