"""Progress bars: the one module that knows tqdm.

Bars count real bytes, go to stderr, and are not drawn where stderr is no terminal or where --quiet was given.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

POLL_S = 0.2


class Bar(Protocol):
    """Something that is told how many bytes are done."""

    def update(self, n: float | None = 1, /) -> object:
        """Add `n` bytes."""


class Progress:
    """Draws bars and notes on stderr; quiet, it does neither."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def note(self, text: str) -> None:
        """Print one line, unless quiet."""
        if not self.quiet:
            tqdm.write(text, file=sys.stderr)

    @contextmanager
    def bytes_bar(self, label: str, total_bytes: int) -> Iterator[Bar]:
        """Yield a bar of `total_bytes`; threads may update it."""
        hidden = self.quiet or not sys.stderr.isatty()
        with tqdm(total=total_bytes, desc=label, unit="B", unit_scale=True, disable=hidden, leave=False) as bar:
            yield bar

    @contextmanager
    def watch_folder(self, label: str, folder: Path, total_bytes: int) -> Iterator[None]:
        """Draw how many bytes another program has written below `folder`, while the body runs."""
        ended = threading.Event()
        with self.bytes_bar(label, total_bytes) as bar:
            watcher = threading.Thread(target=_follow, args=(folder, bar, total_bytes, ended), daemon=True)
            watcher.start()
            try:
                yield
            finally:
                ended.set()
                watcher.join()


def _follow(folder: Path, bar: Bar, total_bytes: int, ended: threading.Event) -> None:
    seen = 0
    while not ended.wait(POLL_S):
        # pip keeps its own copy until it ends: the folder may hold everything twice.
        now = min(max(seen, folder_bytes(folder)), total_bytes)
        bar.update(now - seen)
        seen = now


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of all files below `folder`, whatever vanishes meanwhile."""
    total = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                total += Path(place, name).stat().st_size
    return total
