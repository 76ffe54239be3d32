"""Server-sent events as chat servers use them: the bytes of a body come in, what they tell goes out."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

DONE = b"[DONE]"
WAITING = b": waiting "
# Quotes inside a text are escaped in JSON, so only a choice's own end looks like this.
REASON = re.compile(rb'"finish_reason" *: *"')
ERROR = re.compile(rb'data: *\{ *"error" *:')


class BrokenStream(Exception):
    """The body ended before the answer did, or held something that is no JSON object."""


@dataclass(frozen=True)
class Waiting:
    """Our engine's comment while a request waits: its place in the queue, and for how long still, in seconds."""

    position: int
    wait_s: float


def events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield each event up to the end of the answer. Raises: BrokenStream."""
    return (item for item in told(chunks) if not isinstance(item, Waiting))


def told(chunks: Iterable[bytes]) -> Iterator[dict[str, Any] | Waiting]:
    """Yield each event, and what is told while the request waits, up to the end of the answer.

    That is [DONE]; of servers that forget it, the end of a body that gave a reason to finish. Raises: BrokenStream.
    """
    has_reason = False
    for line in lines(chunks):
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if data == DONE:
                return
            has_reason = has_reason or bool(REASON.search(data))
            yield json_object(data)
        elif line.startswith(b"error:"):  # llama-server before the end of 2025
            yield {"error": json_object(line[6:].strip())}
        elif waiting := _waiting(line):
            yield waiting
    if not has_reason:
        raise BrokenStream("the answer broke off before its end")


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Split at newlines only. httpx's iter_lines splits at U+2028 too, which JSON may contain as it is."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


class Ending:
    """Follows a stream that is handed on as it is, to know how it ended."""

    def __init__(self) -> None:
        self.is_marked = False
        self.has_reason = False
        self.has_error = False
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        for line in whole:
            self._look(line)

    def close(self) -> None:
        """Look at a last line without an end."""
        self._look(self._rest)

    def _look(self, line: bytes) -> None:
        self.is_marked = self.is_marked or (line.startswith(b"data:") and line[5:].strip() == DONE)
        self.has_reason = self.has_reason or bool(REASON.search(line))
        self.has_error = self.has_error or bool(ERROR.match(line)) or line.startswith(b"error:")


def json_object(data: bytes) -> dict[str, Any]:
    """Parse one object. Raises: BrokenStream."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenStream("the answer is not JSON") from error
    if not isinstance(value, dict):
        raise BrokenStream("the answer is JSON, but no object")
    return value


def _waiting(line: bytes) -> Waiting | None:
    if not line.startswith(WAITING):
        return None
    try:
        facts = json.loads(line[len(WAITING) :])
        waiting = Waiting(int(facts["position"]), float(facts["wait_s"]))
        return waiting if math.isfinite(waiting.wait_s) else None
    except (ValueError, KeyError, TypeError, OverflowError):
        return None  # a comment of somebody else's
