"""What a person sees while work goes on: a bar at a terminal, else one line a step. Everything goes to standard error.

The only module that knows tqdm.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Where the core says what it is doing."""

    def step(self, text: str) -> None:
        """Say which step begins."""

    def bar(self, text: str, total_bytes: int) -> AbstractContextManager[Callable[[int], object]]:
        """Begin a step of a known size; yields what is to be told the bytes that were done."""


class Lines:
    """One line a step, and below it, while it lasts, a bar where standard error is a terminal."""

    def step(self, text: str) -> None:
        """Print the step."""
        print(f"ferry: {text}", file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def bar(self, text: str, total_bytes: int) -> Iterator[Callable[[int], object]]:
        """Print the step, and show the bar."""
        self.step(text)
        if not sys.stderr.isatty():
            yield lambda _: None
            return
        from tqdm import tqdm  # most commands show no bar, and importing it takes as long as they do

        with tqdm(total=total_bytes, unit="B", unit_scale=True, leave=False) as shown:
            yield shown.update
