"""What the audit log says of itself, and the time as its lines have it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

Facts = Mapping[str, Any]


def note(event: str, **facts: Any) -> dict[str, Any]:
    """Return an event that nobody caused but the log's own keeping."""
    return {"at": timestamp(), "event": event, "user": "", "address": "", **facts}


def timestamp() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def today() -> str:
    """Return the day in UTC as the names of files have it."""
    return datetime.now(timezone.utc).strftime("%Y%m%d")
