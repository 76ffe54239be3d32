"""systemd's side of an installation with root: users, folders in /run and /var, units; start, stop and state.

The texts are the release's own templates in app/systemd; only the prefix is put into them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from checksums import process
from checksums.errors import HealthError
from checksums.process import ProcessError
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress

UNITS = ("ferry.service", "ferry-engine.service")
USERS = ("ferry", "ferry-engine")
# At boot, before the service: takes back what a power cut broke off.
RECOVERY = "ferry-recover.service"
SYSTEM = Path("/etc/systemd/system")
TMPFILES = Path("/etc/tmpfiles.d/ferry.conf")
FILES = (*(SYSTEM / unit for unit in (*UNITS, RECOVERY)), TMPFILES)
START_TIMEOUT_S = 120
JOURNAL_LINES = 30


def render(template: str, places: Places) -> str:
    """Put the prefix into a unit; systemd reads % as the start of a specifier."""
    return template.replace("@PREFIX@", str(places.prefix).replace("%", "%%"))


def prefix_of(unit: str) -> str | None:
    """Return the prefix that a rendered unit carries."""
    found = re.search(r'^Environment="FERRY_RELEASE=(.+)/current"$', unit, re.MULTILINE)
    return found[1].replace("%%", "%") if found else None


def state_of(active: list[str]) -> str:
    """Return one word for the states of the web and the engine, as `systemctl is-active` says them.

    An engine that is not wanted is inactive beside a web that runs.
    """
    web, engine = active
    if "failed" in active:
        return "failed"
    if web == "active" and engine in {"active", "activating", "inactive"}:
        return "running"
    return "running" if web == "activating" else "stopped"


class Units:
    """The units of an installation; needs root and a running systemd."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def prepare(self, release: Path, changes: Changes, /) -> None:
        """Make users, folders and units; what was not there before is on the way back."""
        templates = release / "app" / "systemd"
        changes.undo("remove-users", [user for user in USERS if not _exists("passwd", user)])
        process.run(["systemd-sysusers", templates / "ferry.sysusers.conf"])
        for folder in (self.places.data, self.places.log, self.places.cache, self.places.run):
            changes.will_make(folder)
        changes.file(TMPFILES, (templates / "ferry.tmpfiles.conf").read_bytes())
        process.run(["systemd-tmpfiles", "--create", TMPFILES])
        changes.undo("daemon-reload")
        for unit in (*UNITS, RECOVERY):
            text = render((templates / unit).read_text(), self.places)
            changes.file(SYSTEM / unit, text.encode())
        if not _is_enabled():
            changes.undo("disable")
        reload()
        _systemctl("enable", "--quiet", UNITS[0], RECOVERY)

    def start(self, progress: Progress) -> None:
        """Start the web, which pulls the engine in; returns when the web serves."""
        progress.step("systemctl start ferry")
        try:
            _systemctl("reset-failed", *UNITS, check=False)
            process.run(["systemctl", "start", UNITS[0]], timeout_s=START_TIMEOUT_S)
        except ProcessError as error:
            raise HealthError("ferry.service does not start", "see: journalctl -u ferry -u ferry-engine") from error

    def stop(self) -> None:
        """Stop both; naming both makes systemctl wait for both."""
        _systemctl("stop", *UNITS, check=False)

    def state(self) -> str:
        """Ask systemd."""
        words = process.run(["systemctl", "is-active", *UNITS], check=False).text.split()
        return state_of(words) if len(words) == len(UNITS) else "stopped"

    def last_lines(self) -> str:
        """Return the end of the journal of both units."""
        argv = [
            "journalctl",
            "--no-pager",
            "-o",
            "cat",
            "-n",
            str(JOURNAL_LINES),
            *(f"--unit={unit}" for unit in UNITS),
        ]
        return process.run(argv, check=False).text


def reload() -> None:
    """Let systemd read the units again."""
    _systemctl("daemon-reload", check=False)


def disable() -> None:
    """Let systemd start nothing of ours at boot."""
    _systemctl("disable", "--quiet", UNITS[0], RECOVERY, check=False)


def _systemctl(*words: str, check: bool = True) -> None:
    process.run(["systemctl", *words], check=check)


def _is_enabled() -> bool:
    return process.run(["systemctl", "is-enabled", UNITS[0]], check=False).text == "enabled"


def _exists(database: str, name: str) -> bool:
    return process.run(["getent", database, name], check=False).returncode == 0


def remove_users(users: Sequence[str]) -> None:
    """Remove system users with their groups, where they are."""
    for user in reversed(users):
        if _exists("passwd", user):
            process.run(["userdel", user], check=False)
        if _exists("group", user):
            process.run(["groupdel", user], check=False)
