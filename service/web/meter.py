"""How many tokens an answer took that is handed on as it comes: its bytes come in, the client's and a count go out.

Our own engine tells its count in the last event of every stream (llama-server's timings), so nothing has to be asked
for and each byte goes on as it is. Another server tells it only to those who ask (`stream_options.include_usage`):
where the client did not, we do, and take that one event out of what the client gets.

An answer that breaks off before its count has come is counted by its events, each being a token or a few, and its
question by its length.
"""

from __future__ import annotations

import re
from typing import Any

from service.web.sse import BrokenStream, json_object

# Quotes inside a text are escaped in JSON, so only the count itself looks like this.
COUNT = re.compile(rb'"(?:usage|timings)" *: *\{')
BYTES_PER_TOKEN = 4


class Meter:
    """Counts one answer. `prompt_tokens` and `answer_tokens` are right at its end, and never less than is known."""

    def __init__(self, request_bytes: int, is_asked: bool = False) -> None:
        """`is_asked` says that the client did not ask for the count, and must not see it."""
        self._is_asked = is_asked
        self._rest = b""
        self._is_after_count = False
        self.prompt_tokens = request_bytes // BYTES_PER_TOKEN
        self.answer_tokens = 0
        self._is_told = False

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens

    def feed(self, chunk: bytes) -> bytes:
        """Look at a piece of a stream. Returns what the client gets of it by now."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        kept = [line for line in whole if self._look(line)]
        return b"".join(line + b"\n" for line in kept) if self._is_asked else chunk

    def close(self) -> bytes:
        """Look at a last line without an end. Returns what the client has not got yet."""
        rest, self._rest = self._rest, b""
        return rest if self._look(rest) and self._is_asked else b""

    def read(self, body: dict[str, Any], size: int) -> None:
        """Look at an answer that is no stream, of `size` bytes."""
        if not self._take(body):
            self.answer_tokens = size // BYTES_PER_TOKEN

    def _look(self, line: bytes) -> bool:
        """Read a line. Returns whether the client gets it."""
        is_gap, self._is_after_count = self._is_after_count and not line.strip(), False
        if is_gap:
            return False
        if not line.startswith(b"data:"):
            return True
        if COUNT.search(line):
            return self._look_at_count(line)
        if not self._is_told:
            self.answer_tokens += 1
        return True

    def _look_at_count(self, line: bytes) -> bool:
        try:
            event = json_object(line[5:].strip())
        except BrokenStream:
            return True
        self._take(event)
        self._is_after_count = self._is_asked and not event.get("choices") and "error" not in event
        return not self._is_after_count

    def _take(self, told: dict[str, Any]) -> bool:
        usage, timings = _table(told.get("usage")), _table(told.get("timings"))
        prompt = _number(usage.get("prompt_tokens"))
        if prompt is None and "prompt_n" in timings:
            prompt = (_number(timings.get("prompt_n")) or 0) + (_number(timings.get("cache_n")) or 0)
        answer = _number(usage.get("completion_tokens"), timings.get("predicted_n"))
        self.prompt_tokens = self.prompt_tokens if prompt is None else prompt
        if answer is not None:
            self.answer_tokens, self._is_told = answer, True
        return self._is_told


def asking(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return a request that asks another server for its count, None where the client has done so or has no stream."""
    options = body.get("stream_options")
    if body.get("stream") is not True or not (options is None or isinstance(options, dict)):
        return None
    if options and options.get("include_usage") is True:
        return None
    return {**body, "stream_options": {**(options or {}), "include_usage": True}}


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(*values: object) -> int | None:
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31:
            return value
    return None
