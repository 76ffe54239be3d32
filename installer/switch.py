"""Let a release that is laid down take over from the one that runs: units, settings, snapshot, link, start, health.

Used by install, upgrade and rollback. Everything goes into the caller's transaction: when the release does not answer a
real question in time, the caller's way back brings the old one up again, on the data that it had.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checksums.errors import FerryError, HealthError
from installer import admin, hardening, settings, snapshot, starting, units, wrapper
from installer.files import Changes
from installer.host import Host, host_of
from installer.places import Places
from installer.progress import Progress
from installer.state import State
from installer.verify import Trust

# A short answer, on a slow machine.
SELFTEST_TIMEOUT_S = 300


@dataclass(frozen=True)
class Target:
    """The folder of the release to switch to, what the first install writes into the settings, and a deadline."""

    release: Path
    listen: str
    trust: Trust
    deadline_s: float | None = None


def switch(
    places: Places,
    target: Target,
    before: State | None,
    changes: Changes,
    progress: Progress,
    migrate: Callable[[], None] = lambda: None,
) -> str:
    """Stop the release that runs, start the other, and let it answer; return its address.

    `migrate` is called in between, when nothing runs and the data is safe.

    Raises:
        HealthError: it did not.
    """
    host = host_of(places)
    if before and host.state() == "running":
        changes.undo("start")
    host.prepare(target.release, changes)
    settings.write(places, target.release, target.listen, target.trust, changes)
    wrapper.write(places, changes)
    if not places.is_user:
        made = (places.prefix, places.etc, places.data, places.log, places.cache, places.wrapper, *units.FILES)
        hardening.relabel(made)
    host.stop()
    if before:
        snapshot.take(places, changes)
        migrate()
    changes.link(places.current, f"{places.releases.name}/{target.release.name}")
    changes.undo("stop")
    return _prove(places, host, target.deadline_s, progress)


def _prove(places: Places, host: Host, deadline_s: float | None, progress: Progress) -> str:
    began = time.monotonic()
    try:
        url = starting.start(places, host, progress, deadline_s)
        progress.step("asking the model a question")
        left_s = deadline_s - (time.monotonic() - began) if deadline_s else SELFTEST_TIMEOUT_S
        admin.ask(places, "selftest", timeout_s=max(1, left_s))
    except FerryError as error:
        text = error.message if isinstance(error, HealthError) else f"{error.message}\n{host.last_lines()}".rstrip()
        raise HealthError(f"the release was taken back: {text}", error.hint) from error
    return url


def kept(current: State | None) -> list[str]:
    """Return the releases that stay: the one that runs, the one before it, and the newest."""
    names = (current.release, current.previous, current.newest) if current else ()
    return sorted({name for name in names if name})
