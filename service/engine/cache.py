"""The keys and values of one sequence for transformers' own forward: as much room as its pages, filled token by token.

transformers' own cache joins tensors at every step, so that each token copies the whole conversation. Here a step
writes its own rows and attention reads a view of those filled so far; only other pages copy anything.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class SequenceLayer(DynamicLayer):  # type: ignore[misc]  # transformers ships no types
    """One layer of a sequence; tensors are [1, heads, room, head size]."""

    def __init__(self) -> None:
        super().__init__()
        self._room = 0
        self._length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self._length = self._length, self._length + key_states.shape[-2]
        self._fit()
        self.keys[:, :, start : self._length] = key_states
        self.values[:, :, start : self._length] = value_states
        return self.keys[:, :, : self._length], self.values[:, :, : self._length]

    def resize(self, tokens: int) -> None:
        self._room, self._length = tokens, min(self._length, tokens)
        if self.is_initialized:
            self._fit()

    def _fit(self) -> None:
        if self.keys.shape[2] != self._room:
            self.keys, self.values = self._moved(self.keys), self._moved(self.values)

    def _moved(self, old: torch.Tensor) -> torch.Tensor:
        heads, size = old.shape[1], old.shape[3]
        new = old.new_empty(1, heads, self._room, size)
        kept = min(self._length, old.shape[2])
        new[:, :, :kept] = old[:, :, :kept]
        return new

    def get_seq_length(self, *_: Any) -> int:
        return self._length

    def forget(self, start: int) -> None:
        # What stood there before is out of reach at once: no view goes beyond `_length`.
        self._length = min(self._length, start)


class SequenceCache(Cache):  # type: ignore[misc]  # transformers ships no types
    """All layers of one sequence."""

    def __init__(self, layers: int) -> None:
        super().__init__(layers=[SequenceLayer() for _ in range(layers)])
        self._room = 0

    def resize(self, tokens: int) -> None:
        """Make room for so many tokens, and give back what is beyond."""
        if tokens != self._room:
            self._room = tokens
            for layer in self.layers:
                layer.resize(tokens)

    def forget(self, start: int) -> None:
        """Forget the tokens from `start` on."""
        for layer in self.layers:
            layer.forget(start)
