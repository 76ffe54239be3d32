"""How fast this server really is: the times of steps come in, the size of the next one and waiting times go out.

A long prompt is read in chunks beside the others' decoding; their size is what the measured speed allows in the time
that a stream may stand still.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# A step beside others' streams takes about so long: well within the half second in which a stream is to move.
SHARED_STEP_S = 0.25
# What prefill gets of it in any case, however slow decoding is.
LEAST_PREFILL_S = 0.1
# With no stream to hold up: still short enough for a cancel, and for who comes next.
ALONE_STEP_S = 0.75
LEAST_ROWS = 8
# Chunks end on multiples of this, so that a prompt is mostly cut in the same places whoever else is there: a decoder
# whose sums depend on their length then gives the same answer.
GRID_TOKENS = 32
# How much of an average is the newest value.
NEW = 0.25


class Pace:
    """Measured speed. Written by the decoder's thread; another may read it at any time."""

    def __init__(self) -> None:
        # A guess until the first steps were timed.
        self.step_s = 0.1
        self.row_s = 0.01
        self.answer_tokens = 200.0
        self._is_timed = {"step_s": False, "row_s": False}

    def observe(self, decoding: int, prefilling: int, seconds: float) -> None:
        """Learn what a step took that decoded so many sequences and read so many tokens of prompts."""
        if prefilling == 0:
            self._learn("step_s", seconds)
        elif prefilling >= LEAST_ROWS:
            own = seconds - (self.step_s if decoding else 0)
            self._learn("row_s", max(own, seconds / 4) / prefilling)

    def _learn(self, name: str, value: float) -> None:
        old = getattr(self, name)
        setattr(self, name, old + (value - old) * NEW if self._is_timed[name] else value)
        self._is_timed[name] = True

    def answered(self, tokens: int) -> None:
        """Learn how long answers are."""
        self.answer_tokens += (tokens - self.answer_tokens) * NEW

    def prefill_rows(self, decoding: int, most: int) -> int:
        """Return how many tokens of prompts the next step may read beside so many decoding sequences."""
        seconds = max(SHARED_STEP_S - self.step_s, LEAST_PREFILL_S) if decoding else ALONE_STEP_S
        return max(0, min(most - decoding, max(LEAST_ROWS, int(seconds / max(self.row_s, 1e-9)))))

    def seconds_left(self, prompt_left: int, written: int, max_tokens: int) -> float:
        """Estimate how long a sequence still takes."""
        # One that is longer than usual may end at any token: it is given a quarter of a usual one.
        expected = max(self.answer_tokens - written, self.answer_tokens / 4)
        return prompt_left * self.row_s + min(expected, max_tokens - written) * self.step_s


@dataclass(frozen=True)
class Span:
    """When a queued sequence is expected to begin and to end, in seconds from now."""

    start_s: float
    end_s: float


def forecast(slots: int, running: Iterable[float], queued: Iterable[float]) -> list[Span]:
    """Estimate when each queued sequence has its turn: seconds left of the running and durations of the queued."""
    free = list(running)
    free += [0.0] * (slots - len(free))
    heapq.heapify(free)
    spans = []
    for duration in queued:
        start = heapq.heappop(free)
        spans.append(Span(start, start + duration))
        heapq.heappush(free, start + duration)
    return spans


def share_out(places: Sequence[tuple[int, int]], rows: int) -> list[int]:
    """Deal rows to prompts, a cell of the grid at a time, to each in turn: (tokens read, tokens left) of each prompt.

    Returns: the size of each prompt's chunk.
    """
    shares = [0] * len(places)
    while True:
        before = sum(shares)
        for index, (read, left) in enumerate(places):
            cell = min(left - shares[index], GRID_TOKENS - (read + shares[index]) % GRID_TOKENS)
            room = rows - sum(shares)
            if cell <= room or sum(shares) == 0:
                shares[index] += min(cell, room)
        if sum(shares) == before:
            return shares
