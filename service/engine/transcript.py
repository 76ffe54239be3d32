"""One choice as its client reads it: chosen tokens come in, pieces of text go out, and at the end the reason.

What may not be shown yet, and which token belongs to which text, is left to text.py.
"""

from collections.abc import Callable, Collection, Sequence

from service.engine.chooser import Choice
from service.engine.jobs import Ended, Event, Piece, Work
from service.engine.text import Cut, Stream


class Transcript:
    """Tells `emit` one choice of a work. `reason` is OpenAI's finish_reason, once it is whole."""

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
        self.reason = ""
        self._max_tokens = work.max_tokens
        self._index = index
        self._emit = emit
        self._stop_tokens = stop_tokens
        self._stream = Stream(decode, work.stops, spell)

    def push(self, choice: Choice) -> bool:
        """Take a token. Returns: whether the choice is whole now."""
        self.count += 1
        if choice.token in self._stop_tokens:
            return self._finish("stop")
        if self._tell(self._stream.push(choice)):
            return self._end("stop")
        return self._finish("length") if self.count == self._max_tokens else False

    def _tell(self, cut: Cut) -> bool:
        if cut.text or cut.logprobs:
            self._emit(Piece(self._index, cut.text, cut.logprobs))
        return cut.is_stopped

    def _finish(self, reason: str) -> bool:
        """No more token comes: tell what was held back."""
        return self._end("stop" if self._tell(self._stream.flush(reason == "length")) else reason)

    def _end(self, reason: str) -> bool:
        self.reason = reason
        self._emit(Ended(self._index, reason))
        return True
