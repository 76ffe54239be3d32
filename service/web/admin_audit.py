"""The administrator's commands for the audit log: check it, export it. Hidden: what the installer has to tell it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from tqdm import tqdm

from service.web import audit_export, audit_files, audit_reader, audit_state, audit_verify
from service.web.admin_place import Place, json_option, show
from service.web.audit_chain import Head
from service.web.audit_reader import Wanted
from service.web.audit_verify import Report
from service.web.errors import AdminError

INTEGRITY = 3
TOLD = re.compile(r"audit head ([0-9]+) sha256:([0-9a-f]{64})")
# A check that is over before is not worth a bar.
BAR_AFTER_S = 2


@click.group()
def audit() -> None:
    """Check and export the audit log. Example: ferry audit verify"""


@audit.command()
@click.option("--heads", type=click.File("r"), metavar="FILE", help="Compare with these heads too; - is stdin.")
@click.option("--jobs", type=click.IntRange(0, 256), default=0, help="Processes that work at once; 0: as many as fit.")
@json_option
def verify(heads: Iterable[str] | None, jobs: int, as_json: bool) -> None:
    """Check that no line of the audit log was changed, removed, moved or added, and that its end is there.

    Exit status 3 when something is wrong; each problem is named by file and line. With the heads that the service tells
    the journal, also a log whose end was cut off together with the anchor in the data folder is found:

    journalctl -u ferry -o cat | ferry audit verify --heads -

    Example: ferry audit verify --json
    """
    place = Place()
    known = [Head(int(seq), found) for line in heads or () for seq, found in TOLD.findall(line)]
    with _readable(place), _bar(place) as on_bytes:
        report = audit_verify.verify(place.paths.log, place.paths.data, known, on_bytes, jobs)
    try:
        audit_state.keep(place.paths.data, report)
    except OSError as error:
        click.echo(f"note: the page will not know of this: {error}", err=True)
    show(as_json, report.as_object(), _words(report, len(known)))
    sys.exit(0 if report.is_ok else INTEGRITY)


@audit.command()
@click.option("--format", "form", type=click.Choice(audit_export.FORMATS), default="csv", show_default=True)
@click.option("--from", "start", default="", metavar="TIME", help="From this day or time on, in UTC: 2026-01-31T12:00.")
@click.option("--to", "end", default="", metavar="TIME", help="Up to this time; a day is meant whole.")
@click.option("--user", default="", help="A part of a name: what such users did, or what was done to them.")
@click.option("--event", default="", help="Only this kind of event, such as login.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it into this new file, mode 0600.")
@click.option("--out-fd", type=int, hidden=True)
@json_option
def export(
    form: str, start: str, end: str, user: str, event: str, out: Path | None, out_fd: int | None, as_json: bool
) -> None:
    """Write events as CSV or JSON, to standard output or into a file. Example: ferry audit export --out audit.csv

    The export is an event itself. Cells that a spreadsheet would take for a formula begin with an apostrophe.
    """
    place = Place()
    try:
        wanted = Wanted.of(user, event, start, end)
    except ValueError as error:
        raise AdminError(f"not a time: {error}", "write it like 2026-01-31 or 2026-01-31T12:00", 2) from error
    target = _target(out, out_fd)
    facts = {"user_filter": user, "event_filter": event, "from": start, "to": end}
    place.record("audit_exported", format=form, **{name: value for name, value in facts.items() if value})
    with _readable(place), audit_files.snapshot(place.paths.log, place.paths.data) as taken, target as file:
        counted = _Counted(audit_reader.forward(taken, wanted))
        for piece in audit_export.render(counted, form):
            file.write(piece)
        file.flush()
    if out:
        show(as_json, {"file": str(out), "events": counted.count}, f"{counted.count} events are in {out}")


@audit.command(hidden=True)
@click.argument("event")
@click.option("--fact", "facts", multiple=True, metavar="NAME=VALUE")
@json_option
def write(event: str, facts: tuple[str, ...], as_json: bool) -> None:
    """Record what the installer did. Example: audit write upgrade --fact from=1.0.0 --fact to=1.1.0"""
    Place().record(event, **_facts(facts))
    show(as_json, {"event": event}, f"{event} recorded")


@audit.command(hidden=True)
@click.option("--fact", "facts", multiple=True, metavar="NAME=VALUE")
@json_option
def adopt(facts: tuple[str, ...], as_json: bool) -> None:
    """Go on with the log as a restore has put it, and record that. Example: audit adopt --fact created=2026-01-31"""
    place = Place()
    adopted = place.audit.adopt(user=place.operator, address="local", **_facts(facts))
    show(as_json, {"adopted": adopted}, f"the audit log goes on{' with the one restored' if adopted else ''}")


class _Counted:
    """Counts what passes through."""

    def __init__(self, events: Iterator[dict[str, object]]) -> None:
        self._events = events
        self.count = 0

    def __iter__(self) -> Iterator[dict[str, object]]:
        for event in self._events:
            self.count += 1
            yield event


def _facts(words: tuple[str, ...]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if odd := [name for name, equals, _ in pairs if not (equals and name.isidentifier())]:
        raise click.UsageError(f"--fact {odd[0]}: not NAME=VALUE")
    return {name: value for name, _, value in pairs if name not in {"user", "address", "event", "at"}}


def _target(out: Path | None, out_fd: int | None) -> BinaryIO:
    """Open where an export goes. Raises: AdminError when the file is there already."""
    if out_fd is not None:
        return os.fdopen(out_fd, "wb")
    if out is None:
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        return os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        raise AdminError(f"{out}: {error.strerror}", "name a new file in a folder that is there", 2) from error


@contextmanager
def _readable(place: Place) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        sys.exit(1)  # whoever read along has seen enough
    except OSError as error:
        raise AdminError(
            f"the audit log cannot be read: {error}", f"look at the owner of {place.paths.log}: it has to be ferry"
        ) from error


@contextmanager
def _bar(place: Place) -> Iterator[Callable[[int], object]]:
    with audit_files.snapshot(place.paths.log, place.paths.data) as taken:
        total = taken.size_bytes
    with tqdm(total=total, unit="B", unit_scale=True, leave=False, delay=BAR_AFTER_S, disable=None) as bar:
        yield bar.update


def _words(report: Report, heads: int) -> str:
    lines = [f"{each.file}:{each.line}: {each.problem}" for each in report.problems]
    lines += [f"… and {report.more} more problems"] if report.more else []
    lines += [f"note: {note}" for note in report.notes]
    said = f"{report.lines} lines, {report.size_bytes} bytes"
    if report.is_ok:
        known = f", and {heads} heads of the journal fit" if heads else ""
        lines.append(f"{said}: every line follows the one before, and the last is where the anchor says{known}")
        lines.append(f"head: {report.head.seq} sha256:{report.head.hash}")
    else:
        lines.append(f"{said}: NOT whole; what each of these means: docs/audit.md")
    return "\n".join(lines)
