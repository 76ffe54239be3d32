"""Finds the calls of tools in an answer: pieces of text come in, text to show and whole calls go out.

The form is Hermes', which Qwen's templates ask for: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`. A call is
told when it is whole: of half a call nobody knows yet whether it is one. What is none after all is shown as text.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from typing import NoReturn

from service.engine.messages import ToolCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"


class CallFinder:
    """Reads one answer. `is_open`: it begins inside a call, since the prompt ended with its opening."""

    def __init__(self, names: Iterable[str], is_open: bool = False) -> None:
        self.found = 0
        self._names = frozenset(names)
        self._is_inside = self._is_opened_by_prompt = is_open
        self._held = ""

    def push(self, text: str) -> Iterator[str | ToolCall]:
        """Take a piece; yield what can be told now."""
        self._held += text
        mark = CLOSING if self._is_inside else OPENING
        while (at := self._held.find(mark)) >= 0:
            before, self._held = self._held[:at], self._held[at + len(mark) :]
            yield from self._call(before, CLOSING) if self._is_inside else self._text(before.rstrip())
            self._is_inside = not self._is_inside
            mark = CLOSING if self._is_inside else OPENING
        if not self._is_inside:
            shown = self._held[: len(self._held) - _held_back(self._held)]
            self._held = self._held[len(shown) :]
            yield from self._text(shown)

    def flush(self) -> Iterator[str | ToolCall]:
        """Yield what is still held back when no more text comes: a call too, if it is whole but for its closing."""
        held, self._held = self._held, ""
        yield from self._call(held, "") if self._is_inside else self._text(held)

    def _text(self, text: str) -> Iterator[str]:
        # Line ends between calls belong to their form.
        if text and not (self.found and text.isspace()):
            yield text

    def _call(self, text: str, closing: str) -> Iterator[str | ToolCall]:
        call = _read(text, self._names)
        opening = "" if self._is_opened_by_prompt else OPENING
        self._is_opened_by_prompt = False
        if call:
            self.found += 1
            yield call
        elif opening or text:
            yield f"{opening}{text}{closing}"


def _held_back(text: str) -> int:
    """Count the characters at the end that may belong to a call: its opening, and white space before it."""
    size = next((size for size in range(len(OPENING) - 1, 0, -1) if text.endswith(OPENING[:size])), 0)
    before = text[: len(text) - size]
    return size + len(before) - len(before.rstrip())


def _read(text: str, names: frozenset[str]) -> ToolCall | None:
    try:
        call = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or call.get("name") not in list(names):
        return None
    arguments = call.get("arguments", {})
    if not isinstance(arguments, dict):
        return None
    spelled = json.dumps(arguments, ensure_ascii=False)
    if any("\ud800" <= character <= "\udfff" for character in spelled):
        spelled = json.dumps(arguments)  # no UTF-8 has half of a surrogate pair, but JSON can spell it
    return ToolCall(f"call_{secrets.token_hex(12)}", call["name"], spelled)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
