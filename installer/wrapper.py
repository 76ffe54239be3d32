"""The `ferry` command: a few lines of shell that run the current release's install.pyz with its own interpreter.

By the release's own path, not by `current`: that one moves while an upgrade runs, and Python reads on in the archive.
Where that release is broken another one's takes its place, so that `ferry doctor` can still say what is wrong.
"""

import shlex

from installer.files import Changes
from installer.places import Places

TEXT = """\
#!/bin/sh
# Ferry's command: the install.pyz of the release that runs, on that release's own interpreter.
for release in "$(readlink -f {current})" {releases}/*; do
    if [ -x "$release/venv/bin/python" ] && [ -f "$release/install.pyz" ]; then
        exec "$release/venv/bin/python" -I -B -S "$release/install.pyz" --prefix {prefix} "$@"
    fi
done
echo "error: no release is whole below" {prefix} >&2
echo "hint: install the bundle again: sh install.sh ferry-….tar" >&2
exit 1
"""


def render(places: Places) -> str:
    """Return the script."""
    words = {"current": places.current, "releases": places.releases, "prefix": places.prefix}
    return TEXT.format(**{name: shlex.quote(str(path)) for name, path in words.items()})


def write(places: Places, changes: Changes) -> None:
    """Put the command where operators find it."""
    changes.file(places.wrapper, render(places).encode(), 0o755)
