"""Check the audit log: its chain from the first line to the last, and that it ends where the anchor says.

In: the folders, perhaps heads that the journal was told. Out: a `Report` with every problem by file and line. The files
are opened and measured under the lock and read after it, so the service goes on meanwhile. A line needs only the one
before it to be checked: the files are cut into pieces, and several processes take one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from service.web import audit_anchor, audit_files
from service.web.audit_chain import CURRENT, START, Head
from service.web.audit_files import Snapshot
from service.web.audit_pieces import Checked, Piece, check, pieces_of

MAX_PROBLEMS = 100
# Below this, starting processes takes longer than the check.
ALONE_BYTES = 16 << 20


@dataclass(frozen=True)
class Problem:
    file: str
    line: int
    problem: str


@dataclass(frozen=True)
class Report:
    """What a check found. `notes` are no problems, and good to know; `head` is the last line's."""

    lines: int
    size_bytes: int
    head: Head
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    more: int = 0

    @property
    def is_ok(self) -> bool:
        return not self.problems

    def as_object(self) -> dict[str, Any]:
        return {"ok": self.is_ok, **asdict(self), "head": f"{self.head.seq} sha256:{self.head.hash}"}


def verify(
    log: Path, data: Path, heads: Sequence[Head] = (), on_bytes: Callable[[int], object] = lambda _: None, jobs: int = 0
) -> Report:
    """Check everything. `on_bytes` is told how many bytes were read; `jobs` processes work, 0 for as many as fit.

    Raises: OSError when a file cannot be read.
    """
    with audit_files.snapshot(log, data) as taken:
        wanted = frozenset(head.seq for head in heads)
        return _Judge(taken, heads).report(_check_all(taken, wanted, on_bytes, jobs or _processors()))


def _check_all(
    taken: Snapshot, wanted: frozenset[int], on_bytes: Callable[[int], object], jobs: int
) -> list[tuple[str, Checked]]:
    """Check every piece of every file, in order."""
    pieces = [
        (file.name, piece)
        for file in taken.files
        for piece in pieces_of(Piece(file.descriptor, 0, file.size, wanted=wanted))
    ]
    if jobs == 1 or taken.size_bytes < ALONE_BYTES:
        return [(name, _counted(check(piece), on_bytes)) for name, piece in pieces]
    # Forked: the children have the open files, whatever they are called by now.
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        checked = pool.map(check, [piece for _, piece in pieces])
        return [(name, _counted(each, on_bytes)) for (name, _), each in zip(pieces, checked, strict=True)]


def _counted(checked: Checked, on_bytes: Callable[[int], object]) -> Checked:
    on_bytes(checked.size)
    return checked


def _processors() -> int:
    return len(os.sched_getaffinity(0))


class _Judge:
    """Puts the pieces together: what a single piece cannot see."""

    def __init__(self, taken: Snapshot, heads: Sequence[Head]) -> None:
        self._taken = taken
        self._heads = heads
        self._problems: list[Problem] = []
        self._notes: list[str] = []
        self._lines = 0
        self._head = START
        self._events: list[tuple[str, int, Mapping[str, Any]]] = []
        self._seen: dict[int, str] = {}

    def report(self, results: Sequence[tuple[str, Checked]]) -> Report:
        first: tuple[str, Head] | None = None
        file, base = "", 0
        for name, checked in results:
            base = base if name == file else 0
            file = name
            if checked.lines:
                if first is None:
                    first = (name, checked.before)
                elif base == 0 and checked.before != self._head:
                    self._add(name, 1, _gap(self._head, checked.before))
                self._head = checked.head
            for line, problem in checked.problems:
                self._add(name, base + line, problem)
            self._events += [(name, base + line, event) for line, event in checked.events]
            self._seen |= checked.seen
            base += checked.lines
            self._lines += checked.lines
        self._judge_beginning(first)
        self._judge_events()
        self._judge_end(file, base)
        self._judge_heads()
        shown = tuple(self._problems[:MAX_PROBLEMS])
        more = len(self._problems) - len(shown)
        return Report(self._lines, self._taken.size_bytes, self._head, shown, tuple(self._notes), more)

    def _add(self, file: str, line: int, problem: str) -> None:
        self._problems.append(Problem(file, line, problem))

    def _judge_beginning(self, first: tuple[str, Head] | None) -> None:
        """The chain begins with line 1, or after what retention removed and said so."""
        if first is None or first[1] == START:
            return
        name, before = first
        removed = {(event.get("last"), event.get("hash")) for _, _, event in self._events}
        if (before.seq, before.hash) not in removed:
            self._add(name, 1, f"begins with line {before.seq + 1}, and no line says that those before it were removed")

    def _judge_events(self) -> None:
        named = set()
        for name, line, event in self._events:
            if event.get("event") != "audit_repaired":
                continue
            named.add(event.get("file"))
            reason = event.get("reason")
            what = f"{name}:{line}: {event.get('bytes', 0)} bytes were put aside into {event.get('file')}"
            if reason == "torn":
                self._notes.append(f"{what}: half a line, left by a writer that was killed")
            elif reason == "unchained":
                self._notes.append(f"{what}: lines of a release that had no chain")
            elif reason == "foreign":
                self._add(name, line, f"lines that Ferry had not written were put aside into {event.get('file')}")
            elif reason == "old anchor":
                self._notes.append(f"{name}:{line}: the anchor was older than the log: somebody put back an old one")
            elif reason == "no anchor":
                self._add(name, line, "the anchor was missing: lines before this one may have been cut off")
        for name in sorted(self._taken.stray - named):
            self._notes.append(f"{name}: was put aside, and no line says so")

    def _judge_end(self, file: str, line: int) -> None:
        """The log ends where the anchor says; after a kill or a power cut, at most a little further or shorter."""
        anchor = self._taken.anchor
        if anchor is None:
            if self._lines:
                self._add(audit_anchor.NAME, 0, "is missing or unreadable: lines may have been cut off the end")
            return
        low, high = anchor.head.head, anchor.end.head
        if self._head.seq < low.seq:
            missing = high.seq - self._head.seq
            self._add(file or CURRENT, line, f"ends with line {self._head.seq}, and {missing} more were written")
        elif self._head.seq > high.seq:
            self._notes.append(f"{self._head.seq - high.seq} lines are newer than the anchor: the power failed")
        elif self._head.seq == high.seq and self._head != high:
            self._add(file, line, "the last line is not the one that was written")
        elif self._head.seq < high.seq:
            self._notes.append(f"the end was being written: line {self._head.seq + 1} is not whole yet")

    def _judge_heads(self) -> None:
        for head in self._heads:
            found = self._seen.get(head.seq)
            if found is None and head.seq > self._head.seq:
                self._add(CURRENT, 0, f"line {head.seq} is missing, and the journal knows it")
            elif found not in (None, head.hash):
                self._add("", 0, f"line {head.seq} is not the one that the journal knows")


def _gap(expected: Head, found: Head) -> str:
    if found.seq == expected.seq:
        return f"line {found.seq + 1} does not follow line {expected.seq}: one of the two was changed"
    missing = f": {found.seq - expected.seq} are missing" if found.seq > expected.seq else ""
    return f"begins with line {found.seq + 1}, and line {expected.seq + 1} should come here{missing}"
