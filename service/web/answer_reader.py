"""What the page is shown of an engine's stream. Pure but for a clock: the stream's events come in, the page's go out.

Servers differ in what they send: none or several choices, no text yet, a role alone, a model's reasoning beside its
answer, usage in the last event, in every one, or never. What is not a text is no reason to lose the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from service.web.engine_errors import inner_error, words_of
from service.web.figures import figures
from service.web.sse import Waiting

# DeepSeek's and llama-server's word, and vLLM's since 0.11.
REASONING = ("reasoning_content", "reasoning")


class BrokenAnswer(Exception):
    """The engine itself ended its answer with an error."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Reader:
    """Reads one stream, event by event."""

    def __init__(self) -> None:
        self.outcome = "complete"
        self.model = ""
        self._is_thinking = False
        self._began_at = 0.0
        self._usage: object = None
        self._timings: object = None

    def read(self, event: dict[str, Any] | Waiting) -> Iterator[dict[str, Any]]:
        """Yield what the page is told of one event. Raises: BrokenAnswer."""
        if isinstance(event, Waiting):
            yield {"type": "waiting", "position": event.position, "wait_s": event.wait_s}
            return
        if event.get("error"):
            error = inner_error(event)
            raise BrokenAnswer(words_of(error) or "the engine failed", str(error.get("code") or ""))
        self.model = self.model or str(event.get("model") or "")
        self._usage = event.get("usage") or self._usage
        self._timings = event.get("timings") or self._timings
        choice = _choice(event)
        if choice.get("finish_reason") == "length":
            self.outcome = "length"
        delta = choice.get("delta")
        yield from self._read_delta(delta if isinstance(delta, dict) else {})

    def _read_delta(self, delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
        text = delta.get("content")
        if isinstance(text, str) and text:
            self._began_at = self._began_at or time.monotonic()
            yield {"type": "text", "text": text}
        elif not self._is_thinking and any(delta.get(name) for name in REASONING):
            self._is_thinking = True
            yield {"type": "thinking"}

    @property
    def figures(self) -> dict[str, float]:
        seconds = time.monotonic() - self._began_at if self._began_at and not self._is_thinking else 0.0
        return figures(self._usage, self._timings, seconds)


def _choice(event: dict[str, Any]) -> dict[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    return first if isinstance(first, dict) else {}
