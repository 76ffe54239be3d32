"""Today's one-slot decoder behind the seam of service/engine/decoding.py; its int8 only rounds the weights.

It goes when service.engine.model gives a `decoding.Decoder`: see own_decoder.load.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from service.engine import model
from service.engine.decoding import PAGE_TOKENS, Feed, Pages


class OneByOne:
    """One slot, that is fed anew whenever the sequence changes."""

    def __init__(self, loaded: model.Model, precision: str, slots: int) -> None:
        self.context_tokens = loaded.context_tokens
        self.page_count = slots * loaded.context_tokens // PAGE_TOKENS
        self.max_rows = 512
        self._decoder = loaded.decoder
        network = loaded.decoder._network
        self.vocabulary: int = network.config.vocab_size
        self._last: Pages | None = None
        self._fed: dict[Pages, list[int]] = {}
        if precision == "int8":
            for module in network.modules():
                if isinstance(module, torch.nn.Linear):
                    scale = (module.weight.abs().amax(-1, keepdim=True) / 127).clamp_min(1e-9)
                    module.weight = torch.nn.Parameter((module.weight / scale).round() * scale, requires_grad=False)

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """See `decoding.Decoder`; another sequence than the last one's is fed from its beginning."""
        scores = []
        for feed in feeds:
            fed = self._fed.setdefault(feed.pages, [])
            is_next = feed.pages is self._last and len(fed) == feed.start
            fed[feed.start :] = feed.tokens
            if not is_next:
                self._decoder.restart()
            row = self._decoder.feed(feed.tokens if is_next else fed)
            self._last = feed.pages
            if feed.wants_scores:
                scores.append(row.numpy())
        return np.stack(scores) if scores else np.empty((0, self.vocabulary), np.float32)
