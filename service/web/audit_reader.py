"""Read the audit log: forward for an export, from its end for a page. Lines in, those that fit a `Wanted` out.

Never more than a block of a file in memory. Most lines are told to be unwanted by their bytes, before anybody parses
them. What is no line of JSON is passed over here: service.web.audit_verify says what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

from service.web.accounts import fold
from service.web.audit_chain import lines_of, seq_of
from service.web.audit_files import File, Snapshot, read

BLOCK_BYTES = 1 << 20
# What one request looks at; who wants more goes on from there.
BUDGET_BYTES = 32 << 20
AT = re.compile(rb'"at":"([0-9T:.+-]{10,40})"')
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# Who did it: service.web.audit writes it right behind time and event.
WHO, WHO_WITHIN = b'"user":"', 400


@dataclass(frozen=True)
class Wanted:
    """Which events: of whom (who did it, or whom it was done to), of which kind, from when until before when.

    `user` is a part of a name, folded as service.web.accounts folds names.
    """

    user: str = ""
    event: str = ""
    start: str = ""
    end: str = ""

    @classmethod
    def of(cls, user: str = "", event: str = "", start: str = "", end: str = "") -> Wanted:
        """Take times as people write them, in UTC; a day as `end` is meant whole. Raises: ValueError."""
        return cls(fold(user.strip()), event.strip(), _moment(start), _moment(end, is_end=True))

    def fits(self, line: bytes) -> dict[str, Any] | None:
        """Return a line's event when it is wanted."""
        at = _time_of(line) if self.start or self.end else ""
        if at < self.start or (self.end and at >= self.end):
            return None
        if self.user and not _may_be_of(self.user, line):
            return None
        if self.event and f'"event":"{self.event}"'.encode() not in line:
            return None
        try:
            found = json.loads(line)
        except ValueError:
            return None
        return found if isinstance(found, dict) and self._is_in(found) else None

    def _is_in(self, found: dict[str, Any]) -> bool:
        names = (found.get(name) for name in ("user", "name", "subject"))
        is_of = not self.user or any(isinstance(name, str) and self.user in fold(name) for name in names)
        return is_of and (not self.event or found.get("event") == self.event)


@dataclass(frozen=True)
class Page:
    """Events, newest first; `before` is the number to go on from, None when there is nothing older."""

    events: tuple[dict[str, Any], ...]
    before: int | None
    is_whole: bool = True  # False: the budget was spent before the page was full


def is_time(text: str) -> bool:
    """Say whether a text is empty or a time that `Wanted.of` takes."""
    try:
        _moment(text)
    except ValueError:
        return False
    return True


def forward(taken: Snapshot, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield every event that is wanted, oldest first."""
    for file in taken.files:
        for line in _lines(file):
            if (found := wanted.fits(line)) is not None:
                yield found


def backward(taken: Snapshot, wanted: Wanted, before: int | None, limit: int, budget: int = BUDGET_BYTES) -> Page:
    """Return the newest events that are wanted among the lines before number `before`."""
    events: list[dict[str, Any]] = []
    last: int | None = None
    for line in _lines_back(taken, before):
        budget -= len(line)
        last = seq_of(line) or last
        if (found := wanted.fits(line)) is not None:
            events.append(found)
        if last is not None and last > 1 and (len(events) == limit or budget <= 0):
            return Page(tuple(events), last, len(events) == limit)
        if wanted.start and _is_long_before(line, wanted.start):
            break
    return Page(tuple(events), None)


def _lines(file: File) -> Iterator[bytes]:
    rest, at = b"", 0
    while at < file.size:
        block = read(file, at, min(at + BLOCK_BYTES, file.size))
        if not block:
            break
        at += len(block)
        whole = (rest + block).rfind(b"\n") + 1
        rest = rest + block
        yield from lines_of(rest[:whole])
        rest = rest[whole:]


def _lines_back(taken: Snapshot, before: int | None) -> Iterator[bytes]:
    """Yield lines from the end, or from before a number."""
    for file in reversed(taken.files):
        end = file.size if before is None else _offset_of(file, before)
        rest = b""
        while end > 0:
            start = max(end - BLOCK_BYTES, 0)
            rest = read(file, start, end) + rest
            end = start
            first = 0 if start == 0 else rest.find(b"\n") + 1
            yield from reversed(list(lines_of(rest[first:])))
            rest = rest[:first]


def _offset_of(file: File, seq: int) -> int:
    """Return where line `seq` begins, or the end of the file when it holds only smaller numbers; by bisection."""
    low, high = 0, file.size
    while low < high:
        middle = (low + high) // 2
        begin, line = _line_at(file, middle)
        found = seq_of(line)
        if found is not None and found < seq:
            low = begin + len(line)
        else:
            high = begin
    return low


def _line_at(file: File, at: int) -> tuple[int, bytes]:
    """Return the line that a byte is in, and where it begins."""
    length = 1 << 12
    while True:
        start, end = max(at - length, 0), min(at + length, file.size)
        data = read(file, start, end)
        newline = data.rfind(b"\n", 0, at - start)
        stop = data.find(b"\n", at - start)
        if (newline >= 0 or start == 0) and (stop >= 0 or end == file.size):
            return start + newline + 1, data[newline + 1 : stop + 1 if stop >= 0 else len(data)]
        length *= 8


def _is_long_before(line: bytes, start: str) -> bool:
    """Say whether a line is over a day older: a clock that was set back leaves later lines with earlier times."""
    at = _time_of(line)
    return bool(at) and at[:10] < (datetime.fromisoformat(start).date() - timedelta(days=1)).isoformat()


def _may_be_of(part: str, line: bytes) -> bool:
    """Say whether a line may be about somebody whose name has this part; it is parsed only then."""
    start = line.find(WHO, 0, WHO_WITHIN) + len(WHO)
    name = line[start : line.find(b'"', start)]
    if start < len(WHO) or b"\\" in name:
        return True  # not written by us, or a name with an escape in it: left to the parser
    return _is_in_name(part, name) or b'"name":"' in line or b'"subject":"' in line


@lru_cache(maxsize=4096)
def _is_in_name(part: str, name: bytes) -> bool:
    return part in fold(name.decode("utf-8", "replace"))


def _time_of(line: bytes) -> str:
    found = AT.search(line, 0, 160)
    return found[1].decode() if found else ""


def _moment(text: str, is_end: bool = False) -> str:
    """Return a time as the lines have it."""
    text = text.strip()
    if not text:
        return ""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if not MINYEAR < moment.year < MAXYEAR:  # there is no day before or after it to compare with
        raise ValueError(f"{text}: no year of a log")
    if is_end and DATE.fullmatch(text):
        moment += timedelta(days=1)
    moment = moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
    return moment.isoformat(timespec="milliseconds")
