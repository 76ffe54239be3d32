"""What the installer tells the audit log, by the release's own Python as the service's user.

The log is the service's: here nothing is written into it. A release that knows no such command, or a log that cannot be
written, is no reason to take back what was done; whoever asked for it is told.
"""

from checksums.errors import FerryError
from installer import admin
from installer.places import Places
from installer.progress import Progress

# Where the log ends, in the data folder (service/web/audit_anchor.py); it is never set back with the data.
ANCHOR = "audit.anchor"
TIMEOUT_S = 60


def record(places: Places, event: str, progress: Progress, **facts: str | None) -> None:
    """Record what was done; facts that are None are left out."""
    try:
        admin.ask(places, "audit", "write", event, *_words(facts), timeout_s=TIMEOUT_S)
    except (FerryError, OSError) as error:
        progress.step(f"not recorded in the audit log: {str(error).splitlines()[0]}")


def adopt(places: Places, created: str, version: str) -> None:
    """Let the service go on with the log that a restore has put, and record the restore.

    Raises:
        FerryError: it cannot.
    """
    admin.ask(places, "audit", "adopt", *_words({"created": created, "version": version}), timeout_s=TIMEOUT_S)


def _words(facts: dict[str, str | None]) -> list[str]:
    known = {name: value for name, value in facts.items() if value is not None}
    return [word for name, value in known.items() for word in ("--fact", f"{name}={value}")]
