"""Start what is installed, and wait until it can answer: places come in, the address goes out."""

from typing import Any

from checksums.errors import FerryError, HealthError
from installer import admin, health, network
from installer.host import Host
from installer.places import Places
from installer.progress import Progress


def start(places: Places, host: Host, progress: Progress, deadline_s: float | None = None) -> str:
    """Start the web and the engine; return the address when both are ready, within `deadline_s` or what is usual.

    Raises:
        FerryError: the settings cannot be used, or something else listens at their address; nothing was started.
        HealthError: one of them ended, or was not ready in time; the message carries the last lines that they wrote.
    """
    settings = _settings(places, host)
    url, certificate = str(settings["url"]), str(settings.get("certificate", ""))
    try:
        host.start(progress)
        model_bytes = sum(path.stat().st_size for path in (places.current / "model").iterdir())
        seconds = deadline_s or health.deadline_s(model_bytes)
        health.wait(url, seconds, lambda: host.state() == "failed", progress, certificate=certificate)
    except FerryError as error:
        raise HealthError(f"{error.message}\n{host.last_lines()}".rstrip(), error.hint) from error
    return url


def _settings(places: Places, host: Host) -> dict[str, Any]:
    """Return what the service makes of its settings; what cannot start is better told here than by lines of a log."""
    settings = admin.ask(places, "config")
    if host.state() != "running" and (busy := network.why_busy(str(settings["listen"]))):
        hint = f"stop what listens there, or choose another address in {places.config} (listen); then: ferry start"
        raise FerryError(f"{settings['listen']}: {busy}", hint)
    return settings
