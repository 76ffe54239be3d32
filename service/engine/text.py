"""From tokens to text that may be shown: chosen tokens come in, pieces of whole characters without stop texts go out.

Two things are held back: the bytes of a character that is not whole yet, and text that may become a stop text. Where
log probabilities are told, a piece carries those of the very tokens that it is made of, and so ends where one ends.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.engine.chooser import Choice
from service.engine.jobs import TokenLogprob

# What a decoder shows for bytes that are no character, or not yet: one for each byte of a beginning at the most.
REPLACEMENT = "\ufffd"
MAX_BROKEN = 3


class Detokenizer:
    """Decodes one answer token by token."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        # Whether everything was shown: no token so far ends within a character.
        self.is_whole = True
        # Text is decoded from `_start` on, with the piece before as context: some tokenizers spell the first token
        # of a text without its space. `_shown` counts the characters from there that went out already.
        self._start = self._read = self._shown = 0

    def push(self, token: int) -> str:
        """Take a token; give the text that is whole now."""
        self._tokens.append(token)
        text = self._decode(self._tokens[self._start :])
        whole = _without_broken_end(text)
        self.is_whole = whole == text
        piece = whole[self._shown :]
        self._shown = max(self._shown, len(whole))
        if piece and self.is_whole:
            self._start, self._read = self._read, len(self._tokens)
            self._shown = len(self._decode(self._tokens[self._start : self._read]))
        return piece

    def flush(self, is_cut: bool = False) -> str:
        """Give what is still held back when no more token comes; `is_cut`: but no beginning of a character."""
        text = self._decode(self._tokens[self._start :])
        return (_without_broken_end(text) if is_cut else text)[self._shown :]


def _without_broken_end(text: str) -> str:
    stripped = text.rstrip(REPLACEMENT)
    return stripped + REPLACEMENT * max(0, len(text) - len(stripped) - MAX_BROKEN)


@dataclass(frozen=True)
class Cut:
    """Text to show, the tokens that it is made of where asked for, and whether a stop text followed it."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    is_stopped: bool = False


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
            return Cut(self._held[: min(ends)], is_stopped=True)
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return Cut(shown)

    def flush(self) -> str:
        """Give what is still held back when no more text comes."""
        return self._held


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of `text` that begin `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


@dataclass
class _Waiting:
    """A token that was not told yet, and where in the text it begins and ends; its end is open within a character."""

    logprob: TokenLogprob
    start: int
    end: int | None = None


class Stream:
    """The text of one answer, from chosen tokens to what may be shown of it."""

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        stops: Sequence[str] = (),
        spell: Callable[[int], bytes] | None = None,
    ) -> None:
        """`spell` gives a single token's bytes; without it they are what `decode` makes of the token alone."""
        self._text = Detokenizer(decode)
        self._stops = StopFilter(stops)
        self._spell = spell or (lambda token: decode([token]).encode())
        self._waiting: deque[_Waiting] = deque()
        # Characters decoded and characters shown; between them what the stop filter and a token's end hold back.
        self._made = self._shown = 0
        self._held = ""

    def push(self, choice: Choice) -> Cut:
        """Take a token; give what may be shown now. Nothing may be pushed once it is stopped."""
        piece = self._text.push(choice.token)
        if choice.logprob is not None:
            self._waiting.append(_Waiting(self._describe(choice, choice.logprob), self._made))
        self._made += len(piece)
        if self._text.is_whole:
            self._close()
        return self._take(self._stops.push(piece))

    def flush(self, is_cut: bool = False) -> Cut:
        """Give what is still held back when no more token comes; `is_cut`: though more would have come."""
        piece = self._text.flush(is_cut)
        self._made += len(piece)
        self._close()
        cut = self._stops.push(piece)
        return self._take(cut if cut.is_stopped else Cut(cut.text + self._stops.flush()))

    def _close(self) -> None:
        for waiting in reversed(self._waiting):
            if waiting.end is not None:
                break
            waiting.end = self._made

    def _take(self, cut: Cut) -> Cut:
        self._held += cut.text
        free = self._shown + len(self._held)
        told = []
        if cut.is_stopped:
            # The last one may reach into the stop text: some of it was shown.
            told = [waiting.logprob for waiting in self._waiting if waiting.start < free]
            self._waiting.clear()
        else:
            while self._waiting and _ends_by(self._waiting[0], free):
                told.append(self._waiting.popleft().logprob)
        shown = self._waiting[0].start if self._waiting else free
        text, self._held = self._held[: shown - self._shown], self._held[shown - self._shown :]
        self._shown = shown
        return Cut(text, tuple(told), cut.is_stopped)

    def _describe(self, choice: Choice, logprob: float) -> TokenLogprob:
        top = tuple(self._name(token, likely) for token, likely in choice.top)
        return self._name(choice.token, logprob, top)

    def _name(self, token: int, logprob: float, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        raw = self._spell(token)
        # A part of a character has no text of its own: it is spelled out, as OpenAI does.
        return TokenLogprob(raw.decode("utf-8", "backslashreplace"), logprob, raw, top)


def _ends_by(waiting: _Waiting, place: int) -> bool:
    return waiting.end is not None and waiting.end <= place
