"""The report for whoever helps from afar: a diagnosis comes in, one text goes out with no secret, prompt or answer.

It is plain text, so that whoever carries it out of the building can read all of it first. Each section is gathered for
itself; one that fails says so in its place.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from checksums import process
from checksums.errors import FerryError, UsageError
from installer import facts_disk, files, installed, present_checks, redaction, units
from installer.checks import Check, gib
from installer.doctor import Diagnosis
from installer.facts import Unknown, Volume, attempt
from installer.host import host_of
from installer.places import Places
from installer.processes import NAMES
from installer.progress import Progress

LOG_LINES = 400
MAX_TREE_LINES = 4000
ASK_TIMEOUT_S = 30
# Never Environment= or a path to a credential: an administrator's drop-in may hold one.
PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "FragmentPath", "DropInPaths", "NRestarts",
    "ExecMainStartTimestamp", "ExecMainExitTimestamp", "ExecMainCode", "ExecMainStatus", "MemoryCurrent", "MemoryPeak",
    "MemoryMax", "MemoryHigh", "TasksCurrent", "TasksMax", "CPUUsageNSec", "LimitNOFILE", "WatchdogUSec", "OOMPolicy",
    "PrivateNetwork", "ProtectSystem", "IPAddressDeny", "NeedDaemonReload", "ActiveEnterTimestamp",
)  # fmt: skip
# What is read out of /etc/os-release; the file may hold addresses of support portals.
SYSTEM_KEYS = ("PRETTY_NAME", "ID", "VERSION_ID")
# What is in them is nobody's business: only how much it is.
CLOSED = ("data", "log", "etc", "cache", "run")


@dataclass(frozen=True)
class Section:
    """One part of the report."""

    title: str
    lines: Callable[[Diagnosis, Progress], Iterator[str]]


def write(path: Path, diagnosis: Diagnosis, progress: Progress) -> None:
    """Write the report whole, for its owner alone.

    Raises:
        UsageError: no file can be there.
    """
    demand_file(path)
    progress.step(f"writing the report {path}")
    files.write(path, render(diagnosis, progress).encode(errors="backslashreplace"), 0o600)


def demand_file(path: Path) -> None:
    """Raise UsageError where a report cannot be written."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "is a folder" if path.is_dir() else "its folder is not there"
        raise UsageError(f"{path}: {what}", "name a file: ferry doctor --report report.txt")


def render(diagnosis: Diagnosis, progress: Progress) -> str:
    """Return the whole text."""
    known = _secrets(diagnosis.places)
    parts = [_text(section, diagnosis, progress) for section in SECTIONS]
    return redaction.without("\n".join(parts), known)


def _text(section: Section, diagnosis: Diagnosis, progress: Progress) -> str:
    lines: list[str] = []
    try:
        lines.extend(section.lines(diagnosis, progress))
    except (FerryError, OSError, ValueError) as error:
        lines.append(f"(cannot be told: {getattr(error, 'message', error)})")
    return "\n".join([f"== {section.title} ==", *lines, ""])


def _secrets(places: Places) -> set[str]:
    try:
        return redaction.secrets(places.config.read_text(errors="replace"))
    except OSError:
        return set()


def _about(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    yield f"Ferry support report, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    yield "Holds no password, key, question, answer or account. Read it before you hand it on: it is plain text."
    yield f"prefix {diagnosis.places.prefix}, {diagnosis.places.mode} mode, release {diagnosis.release or 'none'}"


def _versions(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    lines = Path("/etc/os-release").read_text(errors="replace").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    yield from (f"{key}: {values[key]}" for key in SYSTEM_KEYS if key in values)
    yield f"kernel: {platform.release()} {platform.machine()}"
    yield f"the installer's Python: {platform.python_version()} {sys.executable}"
    system = diagnosis.facts.system
    yield f"OpenSSH: {_told(lambda: '.'.join(map(str, system.openssh)))}, systemd: {_told(lambda: system.systemd)}"
    yield f"releases: {', '.join(sorted(path.name for path in diagnosis.places.releases.glob('*'))) or 'none'}"


def _told(step: Callable[[], object]) -> str:
    found = attempt(step)
    return "?" if isinstance(found, Unknown) else str(found)


def _checks(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    yield from present_checks.lines([_quiet(check) for check in diagnosis.checks])
    if diagnosis.speed:
        yield diagnosis.speed.text


def _quiet(check: Check) -> Check:
    """Leave out the value that a complaint about the settings repeats."""
    if check.name != "settings":
        return check
    return replace(
        check, found="; ".join(redaction.log_lines(check.found.splitlines())) if not check.ok else check.found
    )


def _units(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    yield f"state: {host_of(diagnosis.places).state()}"
    if diagnosis.places.is_user:
        return
    for unit in units.UNITS:
        words = ["systemctl", "show", unit, f"--property={','.join(PROPERTIES)}"]
        yield from process.run(words, timeout_s=ASK_TIMEOUT_S, check=False).text.splitlines()
        yield ""


def _log(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    if diagnosis.places.is_user:
        for name in NAMES:
            path = diagnosis.places.log / f"{name}.log"
            yield f"-- {path.name}"
            if path.is_file():
                lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
                yield from redaction.log_lines(lines)
        return
    named = [f"--unit={unit}" for unit in units.UNITS]
    words = ["journalctl", "--no-pager", "-o", "short-iso", "-n", str(LOG_LINES), *named]
    yield from redaction.log_lines(process.run(words, timeout_s=ASK_TIMEOUT_S, check=False).text.splitlines())


def _settings(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    yield from redaction.settings(diagnosis.places.config.read_text(errors="replace"))


def _verify(diagnosis: Diagnosis, progress: Progress) -> Iterator[str]:
    if not diagnosis.release:
        yield "nothing is installed"
        return
    problems = installed.verify(diagnosis.places, diagnosis.release, progress)
    yield from (f"{problem.path}: {problem.problem}" for problem in problems)
    yield f"{len(problems)} problems"


def _disk(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    for name, volume in vars(diagnosis.facts.volumes).items():
        if isinstance(volume, Volume):
            options = ",".join(sorted(volume.options))
            yield f"{name}: {gib(volume.free_bytes)} free in {volume.folder} ({volume.kind}, {options})"
    places = diagnosis.places
    for folder in (places.releases, places.store, places.venvs, places.pythons, places.data, places.log, places.cache):
        yield f"{gib(facts_disk.size_of(folder)):>10}  {folder}"


def _tree(diagnosis: Diagnosis, _progress: Progress) -> Iterator[str]:
    for number, line in enumerate(_entries(diagnosis.places)):
        if number == MAX_TREE_LINES:
            yield f"(more than {MAX_TREE_LINES} lines)"
            return
        yield line


def _entries(places: Places) -> Iterator[str]:
    """Yield size and name of all below the prefix; environments and the like as one line each."""
    summed = {*places.venvs.glob("*"), *places.pythons.glob("*"), places.store}
    closed = {getattr(places, name) for name in CLOSED}
    for folder, names, entries in os.walk(places.prefix):
        here = Path(folder)
        for name in sorted(names):
            if here / name in summed | closed:
                yield f"{_sum(here / name)}  {_plain(here / name, places)}/…"
        names[:] = sorted(name for name in names if here / name not in summed | closed)
        links = [name for name in names if (here / name).is_symlink()]
        for path in sorted(here / name for name in [*entries, *links]):
            target = f" -> {str(path.readlink())!a}" if path.is_symlink() else ""
            yield f"{path.lstat().st_size:>12}  {_plain(path, places)}{target}"


def _sum(folder: Path) -> str:
    count = sum(len(names) for _, _, names in os.walk(folder))
    return f"{facts_disk.size_of(folder):>12} in {count} files"


def _plain(path: Path, places: Places) -> str:
    """Write a name so that nothing in it can end a line or move a cursor."""
    return ascii(str(path.relative_to(places.prefix)))[1:-1]


SECTIONS: Sequence[Section] = (
    Section("what this is", _about),
    Section("versions", _versions),
    Section("checks", _checks),
    Section("units and processes", _units),
    Section("logs, lines of a known form only", _log),
    Section("settings, those that can be no secret", _settings),
    Section("verify: installed files against the signed list", _verify),
    Section("disk use", _disk),
    Section("files below the prefix, names and sizes", _tree),
)
