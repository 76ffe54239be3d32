"""The keys and values of one slot: room for a whole context, set aside once and filled token by token.

transformers' own cache joins tensors at every step, so that each token copies the whole conversation, and gives the
room back after each answer. Here a step writes its own rows and attention reads a view of those filled so far.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer


class SlotLayer(DynamicLayer):  # type: ignore[misc]  # transformers ships no types
    """One layer of a slot; tensors are [1, heads, context, head size]."""

    def __init__(self, context_tokens: int) -> None:
        super().__init__()
        self._context_tokens = context_tokens
        self._length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = self._room(key_states)
        self.values = self._room(value_states)
        self.is_initialized = True

    def _room(self, states: torch.Tensor) -> torch.Tensor:
        _, heads, _, size = states.shape
        return states.new_empty(1, heads, self._context_tokens, size)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, self._length = self._length, self._length + key_states.shape[-2]
        self.keys[:, :, start : self._length] = key_states
        self.values[:, :, start : self._length] = value_states
        return self.keys[:, :, : self._length], self.values[:, :, : self._length]

    def get_seq_length(self, *_: Any) -> int:
        return self._length

    def reset(self) -> None:
        # What an earlier answer left behind is out of reach at once: no view goes beyond `_length`.
        self._length = 0


def make_cache(layers: int, context_tokens: int) -> Cache:
    """Set up an empty slot; memory is taken when it is first written to."""
    return Cache(layers=[SlotLayer(context_tokens) for _ in range(layers)])
