"""systemd's side of an installation with root: users, folders in /run and /var, units; start, stop and state.

The texts are the release's own templates in app/systemd; the prefix and the engine's limits are put into them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from checksums import process
from checksums.errors import HealthError
from checksums.layout import MANIFEST
from checksums.manifest import Manifest
from checksums.process import ProcessError
from installer import files, limits
from installer.files import Changes
from installer.places import Places
from installer.progress import Progress

UNITS = ("ferry.service", "ferry-engine.service")
# Not enabled: the operator decides. Upgrades and removal take them along.
VERIFY = ("ferry-verify.service", "ferry-verify.timer")
USERS = ("ferry", "ferry-engine")
# At boot, before the service: takes back what a power cut broke off.
RECOVERY = "ferry-recover.service"
SYSTEM = Path("/etc/systemd/system")
TMPFILES = Path("/etc/tmpfiles.d/ferry.conf")
# systemd notes in it when a persistent timer ran last, and leaves it behind.
TIMER_STAMP = Path("/var/lib/systemd/timers/stamp-ferry-verify.timer")
FILES = (*(SYSTEM / unit for unit in (*UNITS, RECOVERY, *VERIFY)), TMPFILES)
START_TIMEOUT_S = 120
JOURNAL_LINES = 30


def render(template: str, places: Places, values: Mapping[str, str]) -> str:
    """Put the prefix and the values into a unit's template; systemd reads % as the start of a specifier."""
    known = {**values, "PREFIX": str(places.prefix).replace("%", "%%")}
    return re.sub(r"@([A-Z_]+)@", lambda found: known.get(found[1], found[0]), template)


def rendered(release: Path, places: Places) -> dict[Path, bytes]:
    """Return what a release puts into the system's folders, fitted to this server and its settings."""
    config = places.config if places.config.exists() else release / "app" / "service" / "ferry.toml"
    manifest = Manifest.parse((release / MANIFEST).read_bytes())
    found = limits.limits(manifest, config.read_text(encoding="utf-8", errors="replace"), limits.this_server())
    templates = release / "app" / "systemd"
    # A release from before there were journals has no recovery.
    names = [*UNITS, *(name for name in (RECOVERY, *VERIFY) if (templates / name).is_file())]
    texts = {SYSTEM / name: (templates / name).read_text(encoding="utf-8") for name in names}
    made = {path: render(text, places, found.values()).encode() for path, text in texts.items()}
    return {**made, TMPFILES: (templates / "ferry.tmpfiles.conf").read_bytes()}


def prefix_of(unit: str) -> str | None:
    """Return the prefix that a rendered unit carries."""
    found = re.search(r'^Environment="FERRY_RELEASE=(.+)/current"$', unit, re.MULTILINE)
    return found[1].replace("%%", "%") if found else None


def words_of(shown: str) -> list[str]:
    """Return one word for each unit that `systemctl show` tells of: its active state, or "failed".

    A unit that failed and will be started again is "activating" to systemd.
    """
    blocks = (dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n"))
    return ["failed" if block["SubState"].startswith("auto-restart") else block["ActiveState"] for block in blocks]


def state_of(active: list[str]) -> str:
    """Return one word for the words of the web and the engine.

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
        changes.undo("daemon-reload")
        made = rendered(release, self.places)
        for path, data in made.items():
            changes.file(path, data)
        process.run(["systemd-tmpfiles", "--create", TMPFILES])
        if not _is_enabled():
            changes.undo("disable")
        reload()
        _systemctl("enable", "--quiet", *(unit for unit in (UNITS[0], RECOVERY) if SYSTEM / unit in made))

    def start(self, progress: Progress) -> None:
        """Start the web, which pulls the engine in; returns when the web serves."""
        progress.step("systemctl start ferry")
        self._fit()
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
        shown = process.run(["systemctl", "show", "-p", "ActiveState,SubState", *UNITS], check=False)
        return state_of(words_of(shown.text)) if shown.returncode == 0 else "stopped"

    def _fit(self) -> None:
        """Give the units the limits that the settings ask for by now."""
        fitting = rendered(self.places.current, self.places)
        changed = {path: data for path, data in fitting.items() if not path.is_file() or path.read_bytes() != data}
        for path, data in changed.items():
            files.write(path, data)
        if changed:
            _systemctl("daemon-reload")

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
    _systemctl("disable", "--quiet", VERIFY[1], check=False)
    _systemctl("stop", *VERIFY, check=False)


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
