"""One choice as its client reads it: chosen tokens come in, pieces of text go out, and at the end the reason.

What may not be shown yet is held back by text.py; the tokens' log probabilities wait with it.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence

from service.engine.chooser import Choice
from service.engine.jobs import Ended, Event, Piece, TokenLogprob, Work
from service.engine.text import Detokenizer, StopFilter


class Transcript:
    """Tells `emit` one choice of a work."""

    def __init__(
        self,
        work: Work,
        index: int,
        emit: Callable[[Event], None],
        decode: Callable[[Sequence[int]], str],
        spell: Callable[[int], bytes],
        stop_tokens: Collection[int],
    ) -> None:
        self.count = 0
        self._work = work
        self._index = index
        self._emit = emit
        self._spell = spell
        self._stop_tokens = stop_tokens
        self._text = Detokenizer(decode)
        self._stops = StopFilter(work.stops)
        self._decoded = self._shown = 0
        # Tokens that were not told yet, each with the place in the text where it begins.
        self._held: deque[tuple[int, TokenLogprob]] = deque()

    def push(self, choice: Choice) -> bool:
        """Take a token. Returns: whether the choice is whole now."""
        self.count += 1
        if choice.token in self._stop_tokens:
            return self._finish("stop")
        if choice.logprob is not None:
            self._held.append((self._decoded, self._describe(choice.token, choice.logprob, choice.top)))
        text = self._text.push(choice.token)
        if self._show(text):
            return self._end("stop")
        if self.count == self._work.max_tokens:
            return self._finish("length")
        return False

    def _show(self, text: str) -> bool:
        """Show what can be shown. Returns: whether a stop text came."""
        self._decoded += len(text)
        cut = self._stops.push(text)
        self._tell(cut.text)
        return cut.is_stopped

    def _tell(self, text: str) -> None:
        if text:
            self._shown += len(text)
            self._emit(Piece(self._index, text, tuple(self._release(self._shown))))

    def _release(self, until: int) -> list[TokenLogprob]:
        released = []
        while self._held and self._held[0][0] < until:
            released.append(self._held.popleft()[1])
        return released

    def _finish(self, reason: str) -> bool:
        """No more token comes: show what was held back."""
        if self._show(self._text.flush()):
            return self._end("stop")
        text = self._stops.flush()
        self._shown += len(text)
        # Tokens without any text of their own are told too.
        logprobs = tuple(self._release(self._decoded + 1))
        if text or logprobs:
            self._emit(Piece(self._index, text, logprobs))
        return self._end(reason)

    def _end(self, reason: str) -> bool:
        self.reason = reason
        self._emit(Ended(self._index, reason))
        return True

    def _describe(self, token: int, logprob: float, top: Sequence[tuple[int, float]] = ()) -> TokenLogprob:
        raw = self._spell(token)
        others = tuple(self._describe(other, chance) for other, chance in top)
        return TokenLogprob(raw.decode("utf-8", "replace"), logprob, raw, others)
