"""`ferry audit`: the release's own Python carries it out; a file that it writes is opened here, by who asked for it."""

import os
from pathlib import Path

import click

from checksums.errors import UsageError
from installer import admin
from installer.cli_common import installation, need_rights

OUT = "--out"
handed_on = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.command(name="audit", context_settings=handed_on, add_help_option=False)
@click.pass_context
def audit_command(context: click.Context) -> None:
    """The audit log: verify, export. Example: ferry audit verify"""
    places, _ = installation(context.obj)
    need_rights(places)
    admin.become(places, "audit", *with_open_file(context.args))


def with_open_file(words: list[str]) -> list[str]:
    """Open what --out names, new and 0600, and add the descriptor: the service's user may not write where root may.

    Raises:
        UsageError: it is there already, or its folder is not.
    """
    out = _value_of(words)
    if out is None:
        return words
    path = Path(out).absolute()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "name a new file in a folder that is there") from error
    os.set_inheritable(descriptor, True)
    return [*words, "--out-fd", str(descriptor)]


def _value_of(words: list[str]) -> str | None:
    for number, word in enumerate(words):
        if word == OUT and number + 1 < len(words):
            return words[number + 1]
        if word.startswith(f"{OUT}="):
            return word[len(OUT) + 1 :]
    return None
