"""Start what is installed, and wait until it can answer: places come in, the address goes out."""

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
    url = _address(places, host)
    try:
        host.start(progress)
        model_bytes = sum(path.stat().st_size for path in (places.current / "model").iterdir())
        health.wait(url, deadline_s or health.deadline_s(model_bytes), lambda: host.state() == "failed", progress)
    except FerryError as error:
        raise HealthError(f"{error.message}\n{host.last_lines()}".rstrip(), error.hint) from error
    return url


def _address(places: Places, host: Host) -> str:
    """Return where the service will answer; what cannot start is better told here than by many lines of a log."""
    settings = admin.ask(places, "config")
    if host.state() != "running" and (busy := network.why_busy(str(settings["listen"]))):
        hint = f"stop what listens there, or choose another address in {places.config} (listen); then: ferry start"
        raise FerryError(f"{settings['listen']}: {busy}", hint)
    return str(settings["url"])
