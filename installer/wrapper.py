"""The `ferry` command: a few lines of shell that run the current release's install.pyz with its own interpreter.

By the release's own path, not by `current`: that one moves while an upgrade runs, and Python reads on in the archive.
"""

import shlex

from installer.files import Changes
from installer.places import Places

TEXT = """\
#!/bin/sh
# Ferry's command: the install.pyz of the release that runs, on that release's own interpreter.
release=$(readlink -f {current}) || release={current}
exec "$release/venv/bin/python" -I -B -S "$release/install.pyz" --prefix {prefix} "$@"
"""


def render(places: Places) -> str:
    """Return the script."""
    words = {"current": places.current, "prefix": places.prefix}
    return TEXT.format(**{name: shlex.quote(str(path)) for name, path in words.items()})


def write(places: Places, changes: Changes) -> None:
    """Put the command where operators find it."""
    changes.file(places.wrapper, render(places).encode(), 0o755)
