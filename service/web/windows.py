"""How much of a branch the model is shown. Pure: the pairs above a question come in, the first one to show goes out.

Each answer keeps the first question it was shown (Message.first_id). So a conversation which did not fit the model's
context is not tried from its beginning again with every question, and keeps the beginning that the engine has already
computed: in every process, after a restart, and in each branch by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.web import history
from service.web.branches import Pair

# English has about four bytes a token, Chinese three to five in UTF-8: rather too many tokens than too few.
BYTES_PER_TOKEN = 3


@dataclass(frozen=True)
class Room:
    """The model's context, and how much of it an answer may take, in tokens."""

    context_tokens: int
    answer_tokens: int

    def is_tight(self, used_tokens: int, question: str) -> bool:
        """Tell whether the question would leave its answer less than it may take, or a quarter of the context."""
        expected = used_tokens + len(question.encode("utf-8", "replace")) // BYTES_PER_TOKEN
        answer = min(self.answer_tokens, self.context_tokens // 4)
        return bool(used_tokens) and expected + answer > self.context_tokens


def begin(pairs: Sequence[Pair], limit: int) -> int:
    """Return the index of the first pair to show: where the last answer's began, unless there are too many by now."""
    return max(history.first_kept(len(pairs), limit), _last_begin(pairs))


def begin_for(pairs: Sequence[Pair], limit: int, question: str, room: Room | None) -> int:
    """Like `begin`, but leave room for an answer to this question. `room` is None where nobody knows it."""
    first = begin(pairs, limit)
    is_continued = first == _last_begin(pairs) < len(pairs)
    if room and is_continued and room.is_tight(pairs[-1].answer.tokens, question):
        return history.halved(first, len(pairs))
    return first


def _last_begin(pairs: Sequence[Pair]) -> int:
    known = next((pair.answer.first_id for pair in reversed(pairs) if pair.answer.first_id is not None), None)
    return next((index for index, pair in enumerate(pairs) if pair.question_id == known), 0)
