"""Append to the audit log: events come in, chained lines are on the disk when `append` returns.

Several processes append at once: each holds the anchor's lock while it writes, and syncs after it has let go, so that
nobody waits for another's disk. What a killed writer or a power cut left is dealt with by service.web.audit_recovery.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from service.web import audit_anchor, audit_recovery, audit_rotation
from service.web.audit_anchor import Anchor, Mark
from service.web.audit_chain import CURRENT, Head, render
from service.web.audit_events import Facts, note, today

TELL_EVERY_S = 3600


@dataclass(frozen=True)
class Log:
    """Where the log and its anchor are, and when a file is full or too old; `tell` is told the head now and then."""

    log: Path
    data: Path
    rotate_bytes: int = 64 << 20
    retain_days: int = 0
    tell: Callable[[str], None] | None = None

    def append(self, events: Sequence[Facts], retire: bool = False) -> Head:
        """Write events, on the disk when this returns; `retire` also removes files that are too old.

        Raises: OSError when they cannot be written; none of them is in the log then, or it is not known to be.
        """
        with audit_anchor.locked(self.data) as descriptor:
            anchor, facts = audit_recovery.settle(self.log, audit_anchor.read(descriptor))
            anchor, turned = self._turned(anchor, descriptor)
            old = audit_rotation.too_old(self.log, self.retain_days) if retire or turned else []
            facts = [*facts, *turned, *(each.facts for each in old), *events]
            if not facts:
                return anchor.end.head
            mark, file = self._written(anchor, descriptor, facts)
        # Behind the lock: whoever fills the file up meanwhile syncs it before it gets another name.
        try:
            os.fdatasync(file)
        finally:
            os.close(file)
        self._commit(mark, is_told=retire or bool(turned))
        for each in old:
            each.path.unlink(missing_ok=True)
        return mark.head

    def adopt(self, event: Facts) -> bool:
        """Go on with the log that a restore has put here. Returns whether it was another than the anchor's."""
        with audit_anchor.locked(self.data) as descriptor:
            known, found = audit_anchor.read(descriptor), audit_recovery.as_it_is(self.log)
            is_other = known is None or found is None or found.end.head != known.end.head
            if is_other:
                audit_anchor.write(descriptor, found)
        self.append([{**event, "adopted": is_other}])
        return is_other

    def _written(self, anchor: Anchor, descriptor: int, facts: Sequence[Facts]) -> tuple[Mark, int]:
        """Write lines, and return where the file ends now, and the open file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(self.log / CURRENT, flags, 0o600)
        try:
            mark = _write(file, descriptor, anchor, facts)
            if anchor.end.size == 0:
                audit_rotation.sync_folder(self.log)
                audit_rotation.sync_folder(self.data)
            return mark, file
        except BaseException:
            os.close(file)
            raise

    def _turned(self, anchor: Anchor, descriptor: int) -> tuple[Anchor, list[Facts]]:
        """Begin a new file where the current one is full, or of another day."""
        day, head = today(), anchor.end.head
        if anchor.end.size == 0:
            return replace(anchor, first=head.seq + 1, day=day), []
        if anchor.end.size < self.rotate_bytes and day <= anchor.day:
            return anchor, []
        _sync(self.log / CURRENT)
        # On the disk before the file has another name: what begins the new one follows this head.
        audit_anchor.write(descriptor, anchor.synced(anchor.end))
        os.fdatasync(descriptor)
        name = audit_rotation.rotate(self.log, anchor.day, anchor.first)
        begun = Mark(head, 0)
        return replace(anchor, head=begun, end=begun, first=head.seq + 1, day=day), [note("audit_file", previous=name)]

    def _commit(self, mark: Mark, is_told: bool) -> None:
        """Note that the lines are on the disk; tell the head where it was not told for an hour."""
        with audit_anchor.locked(self.data) as descriptor:
            anchor = audit_anchor.read(descriptor)
            if anchor is None:
                return  # somebody removed it in this very moment; the next event says so
            anchor, now = anchor.synced(mark), time.time()
            is_told = is_told or now - anchor.told_at >= TELL_EVERY_S
            if self.tell and is_told:
                anchor = replace(anchor, told_seq=mark.head.seq, told_at=now)
            audit_anchor.write(descriptor, anchor)
            if is_told:
                os.fdatasync(descriptor)
        if self.tell and is_told:
            self.tell(f"audit head {mark.head.seq} sha256:{mark.head.hash}")


def _write(file: int, descriptor: int, anchor: Anchor, facts: Sequence[Facts]) -> Mark:
    """Put the new end into the anchor and then the lines into the file; all of them or none."""
    lines, head = bytearray(), anchor.end.head
    for each in facts:
        line, head = render(head, each)
        lines += line
    mark = Mark(head, anchor.end.size + len(lines))
    audit_anchor.write(descriptor, anchor.moved(mark))
    try:
        _write_all(file, lines)
    except OSError:
        os.ftruncate(file, anchor.end.size)
        audit_anchor.write(descriptor, anchor)
        raise
    return mark


def _write_all(file: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(file)
    finally:
        os.close(file)
