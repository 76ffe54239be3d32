"""Where the build side keeps what it fetched: one folder, so that a second build fetches nothing."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def folder(name: str) -> Path:
    """Return ~/.cache/ferry/NAME, below XDG_CACHE_HOME where that is set; it is made when missing."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = root / "ferry" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked() -> Iterator[None]:
    """Let one process at a time fill the cache; another waits until it has."""
    with (folder("locks") / "cache.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
