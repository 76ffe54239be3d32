"""From tokens to text that may be shown: token ids come in, pieces of whole characters without stop texts go out.

Two things are held back: the bytes of a character that is not whole yet, and text that may become a stop text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# What a decoder shows for bytes that are no character, or not yet: one for each byte of a beginning at the most.
REPLACEMENT = "\ufffd"
MAX_BROKEN = 3


class Detokenizer:
    """Decodes one answer token by token."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        # Text is decoded from `_start` on, with the piece before as context: some tokenizers spell the first token
        # of a text without its space. `_shown` counts the characters from there that went out already.
        self._start = self._read = self._shown = 0

    def push(self, token: int) -> str:
        """Take a token; give the text that is whole now."""
        self._tokens.append(token)
        text = self._decode(self._tokens[self._start :])
        whole = _without_broken_end(text)
        piece = whole[self._shown :]
        self._shown = max(self._shown, len(whole))
        if piece and whole == text:
            self._start, self._read = self._read, len(self._tokens)
            self._shown = len(self._decode(self._tokens[self._start : self._read]))
        return piece

    def flush(self) -> str:
        """Give what is still held back, broken or not, when no more token comes."""
        return self._decode(self._tokens[self._start :])[self._shown :]


def _without_broken_end(text: str) -> str:
    stripped = text.rstrip(REPLACEMENT)
    return stripped + REPLACEMENT * max(0, len(text) - len(stripped) - MAX_BROKEN)


@dataclass(frozen=True)
class Cut:
    """Text to show, and whether a stop text followed it."""

    text: str
    is_stopped: bool


class StopFilter:
    """Lets text through until a stop text appears, which is never shown, nor any beginning of it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> Cut:
        """Take a piece of text; give what cannot belong to a stop text any more."""
        self._held += text
        ends = [at for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            return Cut(self._held[: min(ends)], True)
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return Cut(shown, False)

    def flush(self) -> str:
        """Give what is still held back when no more text comes."""
        return self._held


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of `text` that begin `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
