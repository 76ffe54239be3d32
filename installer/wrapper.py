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
python=$release/venv/bin/python
if ! [ -x "$python" ]; then
    error="the Python that Ferry runs on is gone" hint="install the same bundle again: sh install.sh ferry-….tar"
    for word; do
        [ "$word" != --json ] || printf '{{"error": "%s", "hint": "%s", "exit_code": 4}}\n' "$error" "$hint"
    done
    printf 'error: %s: %s\nhint: %s\n' "$python" "$error" "$hint" >&2
    exit 4
fi
exec "$python" -I -B -S "$release/install.pyz" --prefix {prefix} "$@"
"""


def render(places: Places) -> str:
    """Return the script."""
    words = {"current": places.current, "prefix": places.prefix}
    return TEXT.format(**{name: shlex.quote(str(path)) for name, path in words.items()})


def write(places: Places, changes: Changes) -> None:
    """Put the command where operators find it."""
    changes.file(places.wrapper, render(places).encode(), 0o755)
