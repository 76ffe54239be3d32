"""Check a piece of an audit file: bytes in, what is wrong in them out. As fast as Python hashes.

A piece begins after a newline; the line before it is read along, for the hash that the first line has to hold. The
numbers of the lines need no look at each: where every hash fits, the first and the last number tell of the rest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from service.web.audit_chain import PREV, START, Head, digest, seq_of
from service.web.audit_files import read_descriptor

PIECE_BYTES = 8 << 20
# Events of the log's own, which a check has to know.
OWN = b'","event":"audit_re'
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Piece:
    """Bytes from `start` to `end` of an open file; `wanted` are numbers of lines whose hashes are asked for."""

    file: int
    start: int
    end: int
    wanted: frozenset[int] = frozenset()


@dataclass
class Checked:
    """What a piece holds: heads before and after it, problems and the log's own events by line of the piece."""

    size: int
    lines: int = 0
    before: Head = START
    head: Head = START
    problems: list[tuple[int, str]] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    seen: dict[int, str] = field(default_factory=dict)


def pieces_of(whole: Piece) -> Iterator[Piece]:
    """Cut a file into pieces at its newlines."""
    start = whole.start
    while start < whole.end:
        end = _line_end(whole.file, min(start + PIECE_BYTES, whole.end), whole.end)
        yield replace(whole, start=start, end=end)
        start = end


def _line_end(file: int, at: int, end: int) -> int:
    """Return where the line ends that the byte before `at` is in."""
    at -= 1
    while at < end:
        found = os.pread(file, min(1 << 16, end - at), at)
        if not found:
            break
        newline = found.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(found)
    return end


def check(piece: Piece) -> Checked:
    """Check the lines of a piece."""
    checked = Checked(piece.end - piece.start)
    data = read_descriptor(piece.file, piece.start, piece.end)
    lines = data.split(b"\n")
    if (rest := lines.pop()) or not data:
        checked.problems.append((len(lines) + 1, f"{len(rest)} bytes at the end are no whole line"))
    if not lines:
        return checked
    checked.lines = len(lines)
    checked.before = _before(piece, lines[0])
    last = _check_hashes(lines, checked)
    checked.head = Head(seq_of(lines[-1]) or 0, last)
    if not checked.problems and checked.head.seq - checked.before.seq == len(lines) and seq_of(lines[0]):
        _find_wanted(lines, piece.wanted, checked)
    else:
        _explain(lines, checked)
    _find_events(data, lines, checked)
    return checked


def _before(piece: Piece, first: bytes) -> Head:
    """Return the head before a piece: that of the line before it, or what a file's first line says of the last file."""
    if piece.start == 0:
        return Head((seq_of(first) or 1) - 1, first[PREV].decode("ascii", "replace"))
    length = 1 << 12
    while True:
        start = max(piece.start - length, 0)
        data = read_descriptor(piece.file, start, piece.start)
        newline = data.rfind(b"\n", 0, len(data) - 1)
        if newline >= 0 or start == 0:
            line = data[newline + 1 :]
            return Head(seq_of(line) or 0, digest(line))
        length *= 8


def _check_hashes(lines: list[bytes], checked: Checked) -> str:
    """Compare each line's `prev` with the hash of the line before it. Returns the last line's hash."""
    known = checked.before.hash.encode()
    wrong = []
    for number, line in enumerate(lines):
        if line[PREV] != known:
            wrong.append(number)
        known = sha256(line + b"\n").hexdigest().encode()
    for number in wrong[:MAX_PROBLEMS]:
        checked.problems.append((number + 1, ""))
    return known.decode()


def _explain(lines: list[bytes], checked: Checked) -> None:
    """Find words for what is wrong: by the numbers, which tell a missing line from a changed one."""
    broken = {number for number, words in checked.problems if not words}
    checked.problems = [problem for problem in checked.problems if problem[1]]
    seq = checked.before.seq
    for number, line in enumerate(lines, 1):
        found = seq_of(line + b"\n")
        words = _words(number in broken, found, seq + 1)
        if words and len(checked.problems) < MAX_PROBLEMS:
            checked.problems.append((number, words))
        seq = found if found is not None else seq + 1


def _words(is_broken: bool, found: int | None, expected: int) -> str:
    if found is None:
        return "is no line of the chain"
    if found > expected:
        return f"is line {found}, and line {expected} should come here: {found - expected} are missing"
    if found < expected:
        return f"is line {found}, and line {expected} should come here: out of order, or twice"
    return f"does not fit line {found - 1}: that one was changed, or this one's prev" if is_broken else ""


def _find_wanted(lines: list[bytes], wanted: frozenset[int], checked: Checked) -> None:
    for seq in wanted:
        if checked.before.seq < seq <= checked.head.seq:
            checked.seen[seq] = digest(lines[seq - checked.before.seq - 1] + b"\n")


def _find_events(data: bytes, lines: list[bytes], checked: Checked) -> None:
    if OWN not in data:
        return
    for number, line in enumerate(lines, 1):
        if OWN in line[:200]:
            try:
                checked.events.append((number, json.loads(line)))
            except ValueError:
                checked.problems.append((number, "is not JSON"))
