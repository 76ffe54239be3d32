"""The audit log for other programs: events come in, pieces of CSV or JSON go out.

CSV has a column for each fact that most events have, and the others as JSON in the last one. A cell that a spreadsheet
would take for a formula gets an apostrophe before it: https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

FORMATS = ("csv", "json")
COLUMNS = (
    "seq", "at", "event", "user", "address", "subject", "conversation", "model", "outcome", "prompt_tokens",
    "cached_tokens", "answer_tokens", "asked", "question", "answer", "question_sha256", "answer_sha256",
)  # fmt: skip
MORE = "more"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
BATCH = 500


def render(events: Iterable[dict[str, Any]], form: str) -> Iterator[bytes]:
    """Yield the events in one of FORMATS; JSON is one array."""
    return (_csv if form == "csv" else _json)(events)


def _json(events: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    before = "[\n"
    for event in events:
        yield (before + json.dumps(event, ensure_ascii=False)).encode("utf-8", "replace")
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _csv(events: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, MORE))
    for number, event in enumerate(events, 1):
        writer.writerow(_row(event))
        if number % BATCH == 0:
            yield _taken(text)
    yield _taken(text)


def _row(event: dict[str, Any]) -> list[str]:
    # Whom or what it was done to goes by two names.
    event = {**event, "subject": event.get("subject", event.get("name"))}
    more = {name: value for name, value in event.items() if name not in (*COLUMNS, "name", "prev")}
    cells = ["" if event.get(name) is None else event[name] for name in COLUMNS]
    return [_cell(cell) for cell in (*cells, more or "")]


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else compact(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def compact(value: object) -> str:
    """Return what is no text as JSON."""
    return json.dumps(value, ensure_ascii=False)


def _taken(text: io.StringIO) -> bytes:
    found = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return found
