"""Take an installation away: places come in, what is to go is listed, and goes; settings and data only with `purge`.

The `ferry` command itself is turned into a few lines of shell that remove everything and then themselves, and is run:
whatever interrupts it, `ferry uninstall` again does the rest, though the interpreter may be gone by then.
"""

import shlex
from pathlib import Path

from checksums import process
from checksums.errors import FerryError
from checksums.process import ProcessError
from installer import files, lock, snapshot, transaction, units
from installer.host import host_of
from installer.places import Places
from installer.progress import Progress
from installer.release import STAGING

FINISHER = """\
#!/bin/sh
# An uninstall was begun: what is left of it is done by running `ferry uninstall` again.
set -u
case ${{1:-}} in uninstall) ;; *)
    echo "error: Ferry is being uninstalled" >&2
    echo "hint: to finish it: $0 uninstall" >&2
    exit 1 ;;
esac
failed=0
# A mount point cannot be removed: it is enough that it is empty.
take() {{ rm -rf -- "$1" 2>/dev/null || [ -z "$(ls -A -- "$1")" ] || {{ echo "cannot remove $1" >&2; failed=1; }}; }}
{commands}
[ "$failed" = 0 ] || {{ echo "error: not everything could be removed; see above, then run: $0 uninstall" >&2; exit 1; }}
rm -f -- "$0"
rmdir -- {folders} 2>/dev/null
exit 0
"""


def paths(places: Places, purge: bool) -> list[Path]:
    """Return what goes, beside users, in the order in which it goes: first what makes it an installation."""
    registered = [] if places.is_user else [*units.FILES, units.TIMER_STAMP]
    inside = [places.state, places.current, places.releases, places.venvs, places.store, places.pythons]
    ours = [places.cache, places.run, *places.prefix.glob(f"{STAGING}*"), places.prefix / snapshot.NAME]
    return [*registered, *inside, *ours, *(kept(places) if purge else []), places.wrapper]


def kept(places: Places) -> list[Path]:
    """Return what stays without `purge`: settings, accounts and conversations, the audit log."""
    return [places.etc, places.data, places.log]


def users(places: Places, purge: bool) -> tuple[str, ...]:
    """Return the users that go."""
    return units.USERS if purge and not places.is_user else ()


def uninstall(places: Places, purge: bool, progress: Progress) -> None:
    """Stop the service and remove what belongs to it.

    Raises:
        FerryError: something could not be removed; `ferry uninstall` again does the rest.
    """
    transaction.recover(places, progress)
    with lock.exclusive(places.prefix):
        progress.step("stopping")
        host_of(places).stop()
        progress.step("removing")
        if not places.is_user:
            units.disable()
        files.write(places.wrapper, render(places, purge).encode(), 0o755)
        try:
            process.run(["sh", places.wrapper, "uninstall"])
        except ProcessError as error:
            said = error.completed.stderr.decode(errors="replace").strip()
            raise FerryError(said, f"run it again: {places.wrapper} uninstall") from error


def render(places: Places, purge: bool) -> str:
    """Return the shell script that removes everything and then itself."""
    commands = [f"take {_word(path)}" for path in paths(places, purge)[:-1]]
    if not places.is_user:
        commands += ["systemctl daemon-reload || failed=1"]
        commands += [f"systemctl reset-failed {' '.join(units.UNITS)} 2>/dev/null || :"]
    for user in reversed(users(places, purge)):
        commands += [f"! getent passwd {user} >/dev/null || userdel {user} || failed=1"]
        commands += [f"! getent group {user} >/dev/null || groupdel {user} || failed=1"]
    folders = [folder for folder in (places.wrapper.parent, places.prefix) if folder.is_relative_to(places.prefix)]
    return FINISHER.format(commands="\n".join(commands), folders=" ".join(_word(path) for path in folders))


def _word(path: Path) -> str:
    return shlex.quote(str(path))
