"""From the model's scores to the next token: scores and a `Sampling` come in, a `Choice` goes out.

The order of the steps and their formulas are those of transformers' logits processors and warpers, so that greedy
decoding gives the very tokens of `generate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.grammar import Grammar
from service.engine.sampling import Sampling


@dataclass(frozen=True)
class Choice:
    """A token, and the logarithms of its and the likeliest others' chances where those were asked for."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Chooser:
    """Chooses the tokens of one answer and remembers them for the repetition penalty."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], _: Grammar | None = None, index: int = 0) -> None:
        """`index` tells the choices of one request apart: each draws numbers of its own from the seed."""
        self._sampling = sampling
        self._seen = set(prompt)
        self._random = np.random.default_rng(None if sampling.seed is None else [sampling.seed % 2**64, index])

    def choose(self, scores: NDArray[np.float32]) -> Choice:
        """Choose the next token. scores: [vocabulary]; they may be written to."""
        penalty = self._sampling.repetition_penalty
        if penalty != 1.0:
            rows = np.array(list(self._seen))
            seen = scores[rows]
            scores[rows] = np.where(seen < 0, seen * penalty, seen / penalty)
        token = int(scores.argmax()) if self._sampling.temperature == 0 else self._draw(scores)
        self._seen.add(token)
        return Choice(token)

    def _draw(self, scores: NDArray[np.float32]) -> int:
        # Sorted once: top-k is a prefix, and so is top-p (the smallest set whose probability reaches p).
        order = np.argsort(-scores, kind="stable")[: self._sampling.top_k or len(scores)]
        scaled = scores[order].astype(np.float64) / self._sampling.temperature
        chances = np.exp(scaled - scaled[0])
        chances /= chances.sum()
        before = chances.cumsum() - chances
        sums = np.where(before < self._sampling.top_p, chances, 0.0).cumsum()
        return int(order[np.searchsorted(sums, self._random.random() * sums[-1], side="right")])
