"""A decoder for any model that transformers loads, through its own forward: slower than the kernels, and never wrong.

The feeds of a step run one after another, so that none can depend on its neighbours.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from service.engine.cache import SequenceCache
from service.engine.decoding import PAGE_TOKENS, Feed, Pages
from service.engine.pace import GRID_TOKENS

# More at once is hardly faster, and holds up a cancel.
MAX_ROWS = 512


class TorchDecoder:
    """Decodes with `network`, a causal language model of transformers. Not safe to use from two threads."""

    def __init__(self, network: Any, layers: int, vocabulary: int, context_tokens: int, page_count: int) -> None:
        self.vocabulary = vocabulary
        self.context_tokens = context_tokens
        self.page_count = page_count
        self.max_rows = MAX_ROWS
        self._network = network
        self._layers = layers
        self._caches: WeakKeyDictionary[Pages, SequenceCache] = WeakKeyDictionary()

    @torch.inference_mode()
    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """Run the model over all feeds; see decoding.py."""
        self._fit()
        scores = [self._append(feed) for feed in feeds]
        wanted = [row for feed, row in zip(feeds, scores, strict=True) if feed.wants_scores]
        return np.stack(wanted) if wanted else np.empty((0, self.vocabulary), np.float32)

    def _fit(self) -> None:
        """Pages that were taken from a sequence since the last step give their memory back."""
        for pages, cache in self._caches.items():
            cache.resize(len(pages.numbers) * PAGE_TOKENS)

    def _append(self, feed: Feed) -> NDArray[np.float32]:
        cache = self._caches.get(feed.pages)
        if cache is None:
            cache = self._caches[feed.pages] = SequenceCache(self._layers)
            cache.resize(len(feed.pages.numbers) * PAGE_TOKENS)
        cache.forget(feed.start)
        done = 0
        while done < len(feed.tokens):
            # Cut in the same places whatever the chunk: torch's sums depend on how many rows are multiplied at once.
            count = GRID_TOKENS - (feed.start + done) % GRID_TOKENS
            ids = torch.tensor([list(feed.tokens[done : done + count])])
            output = self._network(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            done += count
        scores: NDArray[np.float32] = output.logits[0, -1].float().numpy()
        return scores


def load(folder: Path, context_tokens: int, page_count: int) -> TorchDecoder:
    """Load the weights as float32. Raises: OSError, ValueError, RuntimeError when they cannot be.

    The checkpoint's own type is bfloat16 or float16, in which prefill is several times slower on a CPU without
    instructions for it.
    """
    transformers_logging.disable_progress_bar()
    network = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    config = network.config
    network.eval().requires_grad_(False)
    return TorchDecoder(network, config.num_hidden_layers, config.vocab_size, context_tokens, page_count)
