"""What an operator asks first: places come in, release, state, address and readiness go out."""

import os
from dataclasses import dataclass

from checksums.errors import FerryError
from installer import admin, health, transaction
from installer.host import host_of
from installer.places import Places
from installer.state import State


@dataclass(frozen=True)
class Status:
    """`state` is "running", "stopped" or "failed"; where `url`, and so `ready`, cannot be known, `problem` says why."""

    release: str
    version: str
    state: str
    url: str | None
    ready: bool
    problem: str | None = None


def status(places: Places, installed: State) -> Status:
    """Ask systemd or the processes, and then the service itself."""
    running = host_of(places).state()
    url, certificate, problem = _address(places)
    if transaction.is_pending(places):
        problem = "a change is under way, or was interrupted; to take it back: ferry recover"
    ready = running == "running" and url is not None and health.is_ready(url, certificate)
    return Status(installed.release, installed.version, running, url, ready, problem)


def url_of(places: Places) -> str | None:
    """Return the address of an installation, where its settings can be read."""
    return _address(places)[0]


def _address(places: Places) -> tuple[str | None, str, str | None]:
    """Return the address and the file of the certificate, or why they cannot be told."""
    if not places.is_user and os.geteuid() != 0:
        return None, "", "only root may read the settings"
    try:
        settings = admin.ask(places, "config")
    except (FerryError, OSError) as error:
        return None, "", str(error)
    return str(settings["url"]), str(settings.get("certificate", "")), None
