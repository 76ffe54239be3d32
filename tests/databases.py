"""The kinds of database that the service works with, as tests choose them: tests/combination.py."""

from __future__ import annotations

import combination

KINDS = combination.DATABASES


def settings(kind: str = "") -> str:
    """Return the lines of ferry.toml for a fresh database of a kind, by default the run's; none for SQLite."""
    url = fresh(kind or combination.chosen(KINDS))
    return f'[data]\nurl = "{url}"\n' if url else ""


def fresh(kind: str) -> str:
    """Return the URL of a fresh database with this release's tables, as `[data] url` has it: "" for SQLite."""
    if kind == "sqlite":
        return ""
    # Late: where it is not asked for, the programs may be missing.
    import postgres_server

    return postgres_server.new_tables()
