"""From the model's scores to the next token: logits and a `Sampling` come in, a token id goes out.

The order of the steps and their formulas are those of transformers' logits processors and warpers, so that greedy
decoding gives the very tokens of `generate`.
"""

from collections.abc import Sequence

import torch

from service.engine.sampling import Sampling


class Sampler:
    """Chooses the tokens of one answer and remembers them for the repetition penalty."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._seen = set(prompt)
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    @torch.inference_mode()
    def pick(self, logits: torch.Tensor) -> int:
        """Choose the next token. logits: float32, [vocabulary]; it may be written to."""
        self._penalise(logits)
        token = int(logits.argmax()) if self._sampling.temperature == 0 else self._draw(logits)
        self._seen.add(token)
        return token

    def _penalise(self, logits: torch.Tensor) -> None:
        """Keskar et al. 2019 (CTRL), section 4.1, as in transformers' RepetitionPenaltyLogitsProcessor."""
        penalty = self._sampling.repetition_penalty
        if penalty != 1.0:
            rows = torch.tensor(list(self._seen))
            seen = logits[rows]
            logits[rows] = torch.where(seen < 0, seen * penalty, seen / penalty)

    def _draw(self, logits: torch.Tensor) -> int:
        # Sorted once: top-k is a prefix, and so is top-p (the smallest set whose probability reaches p).
        scores, order = (logits / self._sampling.temperature).topk(
            min(self._sampling.top_k or len(logits), len(logits))
        )
        chances = scores.softmax(-1)
        before = chances.cumsum(-1) - chances
        chances = chances.where(before < self._sampling.top_p, torch.zeros(()))
        return int(order[chances.multinomial(1, generator=self._generator)])
