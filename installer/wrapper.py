"""The `ferry` command: a few lines of shell that run the current release's install.pyz with its own interpreter."""

import shlex

from installer.files import Changes
from installer.places import Places

TEXT = """\
#!/bin/sh
# Ferry's command: the install.pyz of the release that runs, on that release's own interpreter.
exec {python} -I -B -S {program} --prefix {prefix} "$@"
"""


def render(places: Places) -> str:
    """Return the script."""
    words = {"python": places.python, "program": places.current / "install.pyz", "prefix": places.prefix}
    return TEXT.format(**{name: shlex.quote(str(path)) for name, path in words.items()})


def write(places: Places, changes: Changes) -> None:
    """Put the command where operators find it."""
    changes.file(places.wrapper, render(places).encode(), 0o755)
