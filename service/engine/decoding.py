"""The seam between scheduling and arithmetic: what a decoder is fed in one step, and what it gives back.

Keys and values lie in pages of PAGE_TOKENS tokens. Who owns which page, and until when, is the scheduler's business;
a decoder only reads and writes the pages it is handed. What it computes for a sequence depends on that sequence alone:
not on the others in the step, not on how its tokens were split over steps, not on what a page held before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PAGE_TOKENS = 64


@dataclass(eq=False)
class Pages:
    """The pages of one sequence in the order of its tokens; compared and hashed by identity."""

    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Feed:
    """Tokens that a step appends to one sequence at position `start`; whatever stood from there on is forgotten.

    The pages must have room up to start + len(tokens). No two feeds of a step share a sequence.
    """

    pages: Pages
    start: int
    tokens: Sequence[int]
    wants_scores: bool


class Decoder(Protocol):
    """A loaded model. Not safe to use from two threads."""

    vocabulary: int
    context_tokens: int
    page_count: int
    max_rows: int

    def step(self, feeds: Sequence[Feed]) -> NDArray[np.float32]:
        """Run the model once over all feeds, at most `max_rows` tokens in sum.

        Returns: for each feed that wants them, in order, the scores of what follows its last token:
        [wanting feeds, vocabulary]. They may be written to, and are good until the next step.
        """
