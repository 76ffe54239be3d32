"""Find where the audit log ends, also after a kill, a power cut, an older release or a hand that was in it.

In: the log's folder and the anchor. Out: an anchor that fits the file, and the events that tell what was done. Bytes
that are no line of the chain (one torn by a kill, lines of a release without a chain) are moved into a file of their
own, named in the event. A line that is missing is never made up for: its number stays missing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from service.web import audit_rotation
from service.web.audit_anchor import BEGINNING, Anchor, Mark
from service.web.audit_chain import CURRENT, PREV, START, Head, digest, lines_of, seq_of, take
from service.web.audit_events import Facts, note, today

BEFORE = "audit-before-chain.jsonl"


@dataclass(frozen=True)
class _Found:
    """Where the good part of the current file ends, what stands behind it, and what is wrong, if anything is."""

    end: Mark
    stray: bytes = b""
    reason: str = ""


def settle(log: Path, anchor: Anchor | None) -> tuple[Anchor, list[Facts]]:
    """Return the anchor to go on from; nothing is read when the file's size is what the anchor says."""
    size = _size(log / CURRENT)
    if anchor is not None and size == anchor.end.size:
        return anchor, []
    if anchor is None and not size and not audit_rotation.rotated(log):
        return Anchor.at(BEGINNING, 1, today()), []
    data = (log / CURRENT).read_bytes() if size else b""
    if anchor is None and data and seq_of(data) is None:
        return Anchor.at(BEGINNING, 1, today()), [_sealed(log)]
    found = _found(log, data, anchor) if anchor else _without_anchor(log, data)
    events = [_put_aside(log, found)] if found.stray else []
    if found.reason and not found.stray:
        events = [note("audit_repaired", reason=found.reason, after=found.end.head.seq)]
    return _fitting(data, found, anchor), events


def as_it_is(log: Path) -> Anchor | None:
    """Return the anchor of the log as it stands, taken for right; None for a log without a chain, or none at all."""
    data = (log / CURRENT).read_bytes() if _size(log / CURRENT) else b""
    found = _without_anchor(log, data)
    return _fitting(data, found, None) if found.end.head.seq else None


def _fitting(data: bytes, found: _Found, anchor: Anchor | None) -> Anchor:
    first = seq_of(data) or found.end.head.seq + 1
    settled = Anchor.at(found.end, first, _day(data))
    return replace(settled, told_seq=anchor.told_seq, told_at=anchor.told_at) if anchor else settled


def _found(log: Path, data: bytes, anchor: Anchor) -> _Found:
    """Compare the file with the anchor: a writer was killed, the power failed, or somebody changed it."""
    head, size = anchor.head.head, anchor.head.size
    if not _ends_in(data[:size], head):
        if data and data[PREV] != head.hash.encode():
            is_old = (seq_of(data) or 0) > head.seq and _is_in_a_full_file(log, head)
            return replace(_without_anchor(log, data), reason="old anchor") if is_old else _cut(data, anchor)
        size = 0  # a killed writer had just begun a new file
    head, used = take(data[size:], head)
    end = Mark(head, size + used)
    stray = data[end.size :]
    return _Found(end, stray, _kind(stray) if stray else "")


def _is_in_a_full_file(log: Path, head: Head) -> bool:
    """Say whether the log has gone on from `head` long ago: then the anchor is older, and was put back by somebody."""
    path = next(
        (path for path in reversed(audit_rotation.rotated(log)) if audit_rotation.first_of(path) <= head.seq), None
    )
    if path is None:
        return False
    with path.open("rb") as file:
        return any(digest(line) == head.hash for line in file if seq_of(line) == head.seq)


def _ends_in(data: bytes, head: Head) -> bool:
    line = data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
    return bool(line) and seq_of(line) == head.seq and digest(line) == head.hash


def _cut(data: bytes, anchor: Anchor) -> _Found:
    """Go on after what is there with the number that the anchor knows: what is between stays missing."""
    whole = data.rfind(b"\n") + 1
    return _Found(Mark(anchor.end.head, whole), data[whole:], "cut")


def _without_anchor(log: Path, data: bytes) -> _Found:
    whole = data.rfind(b"\n") + 1
    last = data[data.rfind(b"\n", 0, max(whole - 1, 0)) + 1 : whole]
    if not last and (full := audit_rotation.rotated(log)):
        last = audit_rotation.last_line(full[-1])
    head = Head(seq_of(last) or 0, digest(last)) if last else START
    return _Found(Mark(head, whole), data[whole:], "no anchor")


def _kind(stray: bytes) -> str:
    """Say what stands behind the chain: half a line, lines of a release that knew no chain, or anything else."""
    if b"\n" not in stray:
        return "torn"
    return "unchained" if all(_is_plain(line) for line in lines_of(stray)) else "foreign"


def _is_plain(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        return not line.endswith(b"\n")  # the last one may be torn
    return isinstance(found, dict) and "event" in found and "prev" not in found


def _put_aside(log: Path, found: _Found) -> Facts:
    """Move bytes that are no line of the chain into a file of their own."""
    path = _free(log, f"audit-stray-{found.end.head.seq:012d}.jsonl")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(found.stray)
        file.flush()
        os.fsync(file.fileno())
    audit_rotation.sync_folder(log)
    os.truncate(log / CURRENT, found.end.size)
    told = {"file": path.name, "bytes": len(found.stray), "sha256": digest(found.stray)}
    return note("audit_repaired", reason=found.reason, after=found.end.head.seq, **told)


def _sealed(log: Path) -> Facts:
    """Put the log of a release without a chain aside; its digest stands in the chain's first line."""
    path = _free(log, BEFORE)
    (log / CURRENT).rename(path)
    return note("audit_begun", before=audit_rotation.described(path))


def _free(log: Path, name: str) -> Path:
    path, number = log / name, 1
    while os.path.lexists(path):
        number += 1
        path = log / name.replace(".jsonl", f".{number}.jsonl")
    return path


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _day(data: bytes) -> str:
    """Return the day on which the current file began, by its first line."""
    try:
        return str(json.loads(data[: data.find(b"\n") + 1])["at"])[:10].replace("-", "")
    except (ValueError, KeyError, TypeError):
        return today()
