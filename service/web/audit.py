"""The audit log: one JSON line an event, appended to FERRY_LOG/audit.jsonl. Never any text of a conversation."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path


class Audit:
    """Appends events. Lines of several processes do not mix: each is one write to a file opened for appending."""

    def __init__(self, log_dir: Path, is_enabled: bool) -> None:
        self._path = log_dir / "audit.jsonl"
        self._is_enabled = is_enabled

    def write(self, event: str, *, user: str = "", address: str = "", **facts: object) -> None:
        """Record an event: who (`user`), from where (`address`), and what else is known of it."""
        if not self._is_enabled:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"at": now, "event": event, "user": user, "address": address, **facts}) + "\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)
