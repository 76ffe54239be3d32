"""What the last check of the audit log found, kept beside the data for the page and for the administrator."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from service.web.audit_events import timestamp
from service.web.audit_verify import Report

NAME = "audit.verified"
SHOWN = 20


@dataclass(frozen=True)
class State:
    """When it was checked, how many lines there were, and the first of what was wrong."""

    at: str
    is_ok: bool
    lines: int
    head: str
    problems: tuple[str, ...]
    last_line: int  # the number of the last one that was checked


def keep(data: Path, report: Report) -> None:
    """Remember a report. Raises: OSError."""
    found = {
        "at": timestamp(),
        "is_ok": report.is_ok,
        "lines": report.lines,
        "head": f"{report.head.seq} sha256:{report.head.hash}",
        "problems": [f"{each.file}:{each.line}: {each.problem}" for each in report.problems[:SHOWN]],
    }
    beside = data / f".{NAME}.{os.getpid()}"
    beside.write_text(json.dumps(found))
    beside.replace(data / NAME)


def last(data: Path) -> State | None:
    """Return what was found last, None where nobody has looked yet."""
    try:
        found = json.loads((data / NAME).read_text())
        problems, last_line = tuple(found["problems"]), int(found["head"].partition(" ")[0] or 0)
        return State(found["at"], found["is_ok"], found["lines"], found["head"], problems, last_line)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
