"""The two ways to keep the service running, behind one protocol: systemd's units, or two processes of one's own."""

from pathlib import Path
from typing import Protocol

from installer.files import Changes
from installer.places import Places
from installer.processes import Processes
from installer.progress import Progress
from installer.units import Units


class Host(Protocol):
    """Whoever starts and stops the web and the engine of an installation."""

    def prepare(self, release: Path, changes: Changes, /) -> None:
        """Make users, folders and units as the release's templates say."""

    def start(self, progress: Progress) -> None:
        """Start both and return when the web answers."""

    def stop(self) -> None:
        """Stop both; at most 10 s."""

    def state(self) -> str:
        """Return "running", "stopped" or "failed"."""

    def last_lines(self) -> str:
        """Return the end of what both wrote."""


def host_of(places: Places) -> Host:
    """Return the host of an installation."""
    return Processes(places) if places.is_user else Units(places)
