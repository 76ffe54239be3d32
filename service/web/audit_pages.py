"""The audit log as auditors and administrators see it in a browser: who did what, whether it is whole, a download.

The log is read from its end, a bounded piece for each request; a check of the whole runs in a process of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from service.web import audit_export, audit_files, audit_reader, audit_state, language, rights
from service.web.audit import beside_the_loop
from service.web.audit_events import timestamp
from service.web.audit_export import FORMATS, TYPES
from service.web.audit_files import Snapshot
from service.web.audit_reader import Page, Wanted
from service.web.audit_state import State
from service.web.errors import Refusal
from service.web.services import caller, services

PAGE_EVENTS = 50
# So long the button waits for a check; one of a large log goes on, and the page shows it when it is loaded again.
CHECK_WAIT_S = 20
ROOT = Path(__file__).parents[2]
EVENTS = (
    "login", "login_refused", "login_ended", "logins_ended", "logout", "question", "question_refused", "chat",
    "completion", "conversation_exported", "conversation_deleted", "consent", "consent_withdrawn", "password_changed",
    "password_reset", "user_added", "user_enabled", "user_disabled", "user_unlocked",
    "role_changed", "key_added", "key_revoked", "quota_changed", "setting_changed", "setting_reset", "settings_changed",
    "service_started", "service_stopped", "install", "upgrade", "rollback", "backup", "restore", "audit_exported",
    "audit_file", "audit_removed", "audit_repaired", "audit_begun",
)  # fmt: skip
SHOWN_APART = {"prev", "seq", "at", "event", "user", "address", "question", "answer", "messages"}

blueprint = Blueprint("audit", __name__, url_prefix="/audit")
rights.declare(blueprint, rights.AUDIT)
blueprint.before_request(language.switch)
_checking = threading.Lock()


@dataclass(frozen=True)
class Row:
    """One event as the table shows it; `texts` are questions and answers, which are folded."""

    seq: int
    at: str
    exact: str
    event: str
    user: str
    address: str
    facts: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chain:
    """What the page says of the log itself."""

    lines: int
    hash: str
    files: int
    size_bytes: int

    def newer_than(self, state: State | None) -> int:
        """Return how many lines were written since the check that found `state`."""
        return max(self.lines - state.last_line, 0) if state else 0


@blueprint.get("")
def show() -> tuple[str, int]:
    """Show events, the newest first; none where the filter cannot be understood."""
    wanted, problems = _wanted()
    before = request.args.get("before", "")
    number = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None
    audit = services().audit
    page, chain = beside_the_loop(lambda: _read(audit.log_dir, audit.data_dir, wanted, number))
    state = audit_state.last(audit.data_dir)
    text = render_template(
        "audit.html",
        rows=[_row(event) for event in page.events],
        page=page,
        chain=chain,
        state=state,
        newer=chain.newer_than(state),
        is_enabled=audit.is_enabled,
        filters=_filters(),
        events=EVENTS,
        is_later=number is not None,
        problems=problems,
        done=request.args.get("done", "") if request.args.get("done") in ("checked", "checking") else "",
    )
    return text, 400 if problems else 200


@blueprint.get("/export")
def export() -> Response:
    """Download what the filter finds. The export is an event itself. Raises: Refusal 400."""
    wanted, problems = _wanted()
    if wanted is None:
        words = f"{problems[0]}: that is no time. Write it like 2026-01-31 or 2026-01-31T12:00."
        raise Refusal(400, "bad_time", words, param=problems[0])
    form = request.args.get("format", "csv")
    form = form if form in FORMATS else "csv"
    audit = services().audit
    facts = {f"{name}_filter": value for name, value in _filters().items() if value}
    audit.write("audit_exported", user=caller().name, address=request.remote_addr or "", format=form, **facts)
    response = Response(_pieces(audit.log_dir, audit.data_dir, wanted, form), content_type=TYPES[form])
    response.headers["Content-Disposition"] = f'attachment; filename="{_file_name(_filters()["user"], form)}"'
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.post("/check")
def check() -> BaseResponse:
    """Check the whole log, in a process of its own; one at a time."""
    if not _checking.acquire(blocking=False):
        return redirect(url_for("audit.show", done="checking"))
    audit = services().audit
    command = [sys.executable, "-m", "service.web.audit_check", str(audit.log_dir), str(audit.data_dir)]
    try:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    except BaseException:
        _checking.release()
        raise
    is_over = threading.Event()
    threading.Thread(target=_wait_for, args=(process, is_over), daemon=True).start()
    done = "checked" if is_over.wait(CHECK_WAIT_S) else "checking"
    return redirect(url_for("audit.show", done=done))


def _wait_for(process: subprocess.Popen[bytes], is_over: threading.Event) -> None:
    try:
        process.wait()
    finally:
        _checking.release()
        is_over.set()


def _filters() -> dict[str, str]:
    return {name: request.args.get(name, "").strip()[:200] for name in ("user", "event", "from", "to")}


def _wanted() -> tuple[Wanted | None, tuple[str, ...]]:
    """Return what the form asks for; where a time is none, None and the names of such fields."""
    found = _filters()
    problems = tuple(name for name in ("from", "to") if not audit_reader.is_time(found[name]))
    return None if problems else Wanted.of(found["user"], found["event"], found["from"], found["to"]), problems


def _file_name(user: str, form: str) -> str:
    """Name a download for its day (UTC) and the filter's user, in characters that every system takes."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", user).strip("-")
    return "-".join(filter(None, ("ferry-audit", timestamp()[:10], name))) + f".{form}"


def _read(log: Path, data: Path, wanted: Wanted | None, before: int | None) -> tuple[Page, Chain]:
    with audit_files.snapshot(log, data) as taken:
        page = audit_reader.backward(taken, wanted, before, PAGE_EVENTS) if wanted else Page((), None)
        return page, _chain(taken)


def _chain(taken: Snapshot) -> Chain:
    head = taken.anchor.end.head if taken.anchor else None
    return Chain(head.seq if head else 0, head.hash if head else "", len(taken.files), taken.size_bytes)


def _pieces(log: Path, data: Path, wanted: Wanted, form: str) -> Iterator[bytes]:
    """Yield the export; each piece is made beside the loop, which serves others meanwhile."""
    with audit_files.snapshot(log, data) as taken:
        pieces = audit_export.render(audit_reader.forward(taken, wanted), form)
        while (piece := beside_the_loop(lambda: _some(pieces))) is not None:
            yield piece


def _some(pieces: Iterator[bytes], enough_bytes: int = 1 << 16) -> bytes | None:
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) >= enough_bytes:
            break
    return bytes(found) or None


def _row(event: dict[str, Any]) -> Row:
    exact = str(event.get("at", ""))
    texts = [(name, _text(event[name])) for name in ("question", "messages", "answer") if event.get(name)]
    facts = [
        (name, _text(value)) for name, value in event.items() if name not in SHOWN_APART and value not in ("", None)
    ]
    return Row(
        seq=int(event.get("seq") or 0),
        at=_short(exact),
        exact=exact,
        event=str(event.get("event", "")),
        user=str(event.get("user", "")),
        address=str(event.get("address", "")),
        facts=tuple(facts),
        texts=tuple(texts),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else audit_export.compact(value)


def _short(at: str) -> str:
    """Return a time as the table shows it: in UTC, as the filter takes it."""
    try:
        return datetime.fromisoformat(at).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return at
