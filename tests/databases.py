"""The kinds of database that the service works with, as tests choose them.

FERRY_TEST_DATABASE=postgresql runs all of the web's tests on it; by default those that need no server use SQLite.
"""

from __future__ import annotations

import os

import pytest

KINDS = ("sqlite", "postgresql")
CHOSEN = os.environ.get("FERRY_TEST_DATABASE", "")


def params() -> list[object]:
    """Return the kinds as pytest's parameters: both, or the one that was chosen."""
    kinds = [CHOSEN] if CHOSEN else KINDS
    return [pytest.param(kind, marks=[getattr(pytest.mark, kind)] if kind == "postgresql" else []) for kind in kinds]


def settings(kind: str = "") -> str:
    """Return the lines of ferry.toml for a fresh database of a kind, by default the chosen one; none for SQLite."""
    url = fresh(kind or CHOSEN or "sqlite")
    return f'[data]\nurl = "{url}"\n' if url else ""


def fresh(kind: str) -> str:
    """Return the URL of a fresh database with this release's tables, as `[data] url` has it: "" for SQLite."""
    if kind == "sqlite":
        return ""
    # Late: where it is not asked for, the programs may be missing.
    import postgres_server

    return postgres_server.new_tables()
