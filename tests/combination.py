"""What the service stands on in a test run, and what stands before it.

FERRY_TEST_ON names them, as in `FERRY_TEST_ON="postgresql nginx"`: whatever runs the web tier then does so there, but
for tests that are about one kind and name it. By default it is SQLite, reached directly. make/matrix.sh runs all four.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

DATABASES = ("sqlite", "postgresql")
FRONTS = ("directly", "nginx")
WORDS = os.environ.get("FERRY_TEST_ON", "").split()
UNKNOWN = set(WORDS) - {*DATABASES, *FRONTS}
assert not UNKNOWN, f"FERRY_TEST_ON={' '.join(WORDS)}: allowed: {', '.join((*DATABASES, *FRONTS))}"


def chosen(kinds: Sequence[str]) -> str:
    """Return the kind that the run is about, the first where none was named."""
    return next((kind for kind in kinds if kind in WORDS), kinds[0])


def databases() -> list[object]:
    """Return pytest's parameters: the database that was named, else each."""
    return [param(kind) for kind in DATABASES if kind in WORDS or not {*DATABASES} & {*WORDS}]


def ways(*usual: str) -> list[object]:
    """Return pytest's parameters: database and front as they were named, else these."""
    return [param(way) for way in ((f"{chosen(DATABASES)} {chosen(FRONTS)}",) if WORDS else usual)]


def param(words: str) -> object:
    """Return a parameter, marked with the programs that it needs."""
    needed = {*words.split()} & {"postgresql", "nginx"}
    return pytest.param(words, marks=[getattr(pytest.mark, name) for name in sorted(needed)])
