"""The audit log as the rest of the web tier sees it: `write` an event, and it is on the disk when that returns.

What many requests want to write at once goes into one write and one sync; both happen beside gevent's loop. An event
that cannot be written is an `AuditUnavailable`, which refuses the request: nothing is done here that nobody can check.
The lines' form, chain and files are left to service.web.audit_log.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service import config
from service.web.audit_events import Facts, timestamp
from service.web.audit_log import Log


class AuditUnavailable(Exception):
    """The audit log cannot be written."""


class _Entry:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.seq = 0
        self.error: BaseException | None = None
        self.is_done = False


class Audit:
    """Appends events for one process; several processes may."""

    def __init__(
        self, log_dir: Path, data_dir: Path, settings: config.Audit, tell: Callable[[str], None] | None = None
    ) -> None:
        """`tell` is given the head of the chain now and then, for another place than this disk's."""
        self.content = settings.content if settings.enabled else "none"
        self.is_enabled = settings.enabled
        self.log_dir, self.data_dir = log_dir, data_dir
        self._log = Log(log_dir, data_dir, settings.rotate_mib << 20, settings.retain_days, tell)
        self._waiting: list[_Entry] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def write(self, event: str, *, user: str = "", address: str = "", **facts: object) -> int:
        """Record who (`user`) did what (`event`) from where (`address`), and what else is known of it.

        Returns: the number of the line, 0 where the log is switched off. Raises: AuditUnavailable.
        """
        if not self.is_enabled:
            return 0
        entry = _Entry(_facts(event, user, address, facts))
        with self._lock:
            self._waiting.append(entry)
        with self._turn:
            if not entry.is_done:
                self._write_waiting()
        if entry.error:
            raise AuditUnavailable(f"the audit log cannot be written: {entry.error}") from entry.error
        return entry.seq

    def write_late(self, event: str, *, user: str = "", address: str = "", **facts: object) -> int:
        """Record what has happened already and cannot be refused any more; a log that fails is told of on stderr."""
        try:
            return self.write(event, user=user, address=address, **facts)
        except AuditUnavailable as error:
            sys.stderr.write(f"{error}: lost: {event} of {user}\n")
            return 0

    def retire(self, event: str, *, user: str = "", **facts: object) -> None:
        """Record an event, let go of files that are too old, and tell the head. Raises: AuditUnavailable."""
        if not self.is_enabled:
            return
        try:
            self._log.append([_facts(event, user, "", facts)], retire=True)
        except OSError as error:
            raise AuditUnavailable(f"the audit log cannot be written: {error}") from error

    def adopt(self, *, user: str = "", address: str = "", **facts: object) -> bool:
        """Go on with whatever log stands there, and record that as a restore. Raises: AuditUnavailable."""
        if not self.is_enabled:
            return False
        try:
            return self._log.adopt(_facts("restore", user, address, facts))
        except OSError as error:
            raise AuditUnavailable(f"the audit log cannot be written: {error}") from error

    def _write_waiting(self) -> None:
        """Write for all who wait: one of them does it while the others wait for their turn."""
        with self._lock:
            entries, self._waiting = self._waiting, []
        try:
            last = beside_the_loop(lambda: self._log.append([entry.facts for entry in entries])).seq
            for number, entry in enumerate(entries):
                entry.seq = last - len(entries) + 1 + number
        except BaseException as error:
            for entry in entries:
                entry.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for entry in entries:
                entry.is_done = True


def _facts(event: str, user: str, address: str, facts: Facts) -> Facts:
    return {"at": timestamp(), "event": event, "user": user, "address": address, **facts}


def beside_the_loop(call: Callable[[], Any]) -> Any:
    """Call something that waits for a disk: under gevent in a thread of its own, so that only this greenlet waits."""
    if "gevent" in sys.modules:
        import gevent
        from gevent import monkey

        if monkey.is_module_patched("threading"):
            return gevent.get_hub().threadpool.apply(call)
    return call()


def to_stderr(words: str) -> None:
    """Say something to the journal."""
    sys.stderr.write(words + "\n")
