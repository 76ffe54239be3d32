"""How much of each conversation the model was last shown: kept between two turns, for as long as this process lives.

So that a conversation which did not fit the model's context is not tried from its beginning again with every question,
and keeps the beginning that the engine has already computed. What is forgotten costs one refused try.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

CAPACITY = 10_000
# English has about four bytes a token, Chinese three to five in UTF-8: rather too many tokens than too few.
BYTES_PER_TOKEN = 3


@dataclass(frozen=True)
class Window:
    """The first turn shown, and how many tokens the last prompt and its answer took; 0 where nobody said."""

    first: int = 0
    tokens: int = 0

    def is_tight(self, question: str, context_tokens: int, answer_tokens: int) -> bool:
        """Tell whether the next question would leave its answer less than it may take, or a quarter of the context."""
        expected = self.tokens + len(question.encode("utf-8", "replace")) // BYTES_PER_TOKEN
        return bool(self.tokens) and expected + min(answer_tokens, context_tokens // 4) > context_tokens


class Windows:
    """The windows of the conversations that were used last."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._windows: OrderedDict[str, Window] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, conversation_id: str) -> Window:
        with self._lock:
            return self._windows.get(conversation_id, Window())

    def put(self, conversation_id: str, window: Window) -> None:
        with self._lock:
            self._windows[conversation_id] = window
            self._windows.move_to_end(conversation_id)
            if len(self._windows) > self._capacity:
                self._windows.popitem(last=False)
