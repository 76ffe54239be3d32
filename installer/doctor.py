"""What ails this server? A prefix comes in, a `Diagnosis` goes out, whatever is broken below it.

It needs no state, no settings, no running service and no whole release: each that is missing is a finding.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from checksums.errors import FerryError
from checksums.manifest import Manifest
from installer import admin, hardening, health, preflight, settings, speed, state
from installer.checks import ADVICE, Check, Subject, judge
from installer.checks_service import SERVICE
from installer.facts import Facts, Service, attempt, unknown
from installer.gathering import gather
from installer.host import host_of
from installer.places import Places, places_of
from installer.progress import Progress
from installer.speed import Speed
from installer.state import State

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Diagnosis:
    """Every finding, and the speed to expect where it was measured."""

    places: Places
    release: str
    checks: Sequence[Check]
    facts: Facts
    speed: Speed | None = None

    @property
    def is_ok(self) -> bool:
        """Whether nothing forbids Ferry to run here."""
        return not any(check.forbids for check in self.checks)


def examine(prefix: Path, progress: Progress, is_measured: bool = True) -> Diagnosis:
    """Run every check on what is installed below a prefix; `is_measured` adds 3 seconds of reading memory."""
    places, current = find(prefix)
    progress.step("examining this server")
    name, manifest = _manifest(places, current)
    told: Manifest = manifest or unknown(Manifest, "no release has a manifest that can be read")
    service = attempt(lambda: look(places, current, name))
    listen = _listen(places, service)
    # The environment's own program leads to the interpreter that it was made from, carried or not.
    python = places.python if places.python.exists() else places.release(name) / "venv" / "bin" / "python"
    subject = Subject(told, places, listen, python=python, is_installed=True)
    facts = replace(gather(subject), service=service)
    checks = [*judge((*SERVICE, *preflight.QUESTIONS), facts, subject), *_hardening(places)]
    return Diagnosis(places, name, checks, facts, _speed(manifest, places, progress) if is_measured else None)


def _hardening(places: Places) -> Iterator[Check]:
    """Yield what the kernel does not enforce of what the units forbid."""
    try:
        findings = hardening.probe(places) if places.is_user or os.geteuid() == 0 else []
    except (FerryError, OSError) as error:
        yield Check("hardening", False, str(error), "tried out in each unit's sandbox", "run it as root", ADVICE)
        return
    for finding in findings:
        hint = "" if finding.holds else "what that means: docs/security.md"
        found = finding.detail if finding.holds else f"not enforced: {finding.detail}"
        yield Check(f"hardening: {finding.name}", finding.holds, found, "enforced", hint, ADVICE)


def find(prefix: Path) -> tuple[Places, State | None]:
    """Return the places below a prefix, and the state where it can be read; else the mode is guessed."""
    try:
        current = state.read(places_of(prefix, is_user=False))
    except (FerryError, OSError):
        current = None
    if current:
        return places_of(prefix, is_user=current.mode == "user"), current
    as_user = places_of(prefix, is_user=True)
    return (as_user if as_user.wrapper.exists() or as_user.config.exists() else places_of(prefix, is_user=False)), None


def look(places: Places, current: State | None, name: str) -> Service:
    """Ask the service, as far as it can be asked."""
    problem = _release_problem(places, current, name)
    told, settings_problem = ({}, "") if problem else _settings(places)
    url = told.get("url")
    running = host_of(places).state()
    return Service(
        release=name,
        release_problem=problem,
        state=running,
        url=url,
        settings_problem=settings_problem,
        settings_mode=places.config.stat().st_mode & 0o777 if places.config.is_file() else None,
        is_ready=running == "running" and url is not None and health.is_ready(url, told.get("certificate", "")),
        warning=told.get("warning", ""),
    )


def _release_problem(places: Places, current: State | None, name: str) -> str:
    """Say what is wrong with the release that should run, "" where nothing is seen at a glance."""
    if not places.current.is_symlink():
        return f"{places.current}: no such link" if name or current else f"nothing is installed in {places.prefix}"
    if not places.current.is_dir():
        return f"{places.current} points to {places.current.readlink()}, which is not there"
    if not (places.current / MANIFEST).is_file():
        return f"{places.current / MANIFEST}: not there"
    if not places.python.exists():
        return f"{places.python}: not there, or the Python that it was made from is gone"
    points_to = places.current.resolve().name
    return (
        f"current is {points_to}, state.json says {current.release}" if current and current.release != points_to else ""
    )


def _settings(places: Places) -> tuple[dict[str, str], str]:
    """Return what the release makes of its settings, or why that cannot be told."""
    try:
        found = {name: str(value) for name, value in admin.ask(places, "config").items()}
    except (FerryError, OSError) as error:
        return {}, str(getattr(error, "message", error))
    return (found, "") if "url" in found else ({}, "the release does not say its address")


def _manifest(places: Places, current: State | None) -> tuple[str, Manifest | None]:
    """Return the first readable manifest: of the release that runs, of the recorded one, of any, the newest first."""
    recorded = [places.release(current.release)] if current else []
    others = sorted(places.releases.glob("*"), key=lambda folder: folder.lstat().st_mtime, reverse=True)
    for folder in (places.current, *recorded, *others):
        try:
            return folder.resolve().name, Manifest.parse((folder / MANIFEST).read_bytes())
        except (FerryError, OSError):
            continue
    return (current.release if current else ""), None


def _listen(places: Places, service: Service) -> str | None:
    """Return the address to try: None where the service itself holds it, or where the settings do not tell it."""
    found = attempt(lambda: None if service.state == "running" else settings.listen_of(places, None))
    return found if isinstance(found, str) else None


def _speed(manifest: Manifest | None, places: Places, progress: Progress) -> Speed | None:
    if manifest is None:
        return None
    progress.step("measuring how fast memory is read (3 seconds)")
    found = attempt(lambda: speed.expect(manifest, places))
    return found if isinstance(found, Speed) else None
