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
error="the Python that Ferry runs on is gone" hint="install the same bundle again: sh install.sh ferry-….tar"
for word; do
    [ "$word" != --json ] || printf '{{"error": "%s", "hint": "%s", "exit_code": 4}}\n' "$error" "$hint"
done
printf 'error: %s: %s\nhint: %s\n' {prefix} "$error" "$hint" >&2
exit 4
"""


def render(places: Places) -> str:
    """Return the script."""
    words = {"current": places.current, "releases": places.releases, "prefix": places.prefix}
    return TEXT.format(**{name: shlex.quote(str(path)) for name, path in words.items()})


def write(places: Places, changes: Changes) -> None:
    """Put the command where operators find it."""
    changes.file(places.wrapper, render(places).encode(), 0o755)
