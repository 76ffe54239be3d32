"""The database: opening it. Bringing it to this release's tables is left to service.web.revisions.

In: a database URL. Out: short transactions (`with database.begin() as session`). Nothing may hold one while it streams:
under gevent a worker has hundreds of streams and a handful of connections.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

BUSY_TIMEOUT_S = 15


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str) -> None:
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S} if is_sqlite else {})
        if is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    def begin(self) -> AbstractContextManager[Session]:
        """Open a transaction that commits at the end of the block and rolls back on any exception."""
        return self._sessions.begin()

    def close(self) -> None:
        self.engine.dispose()


def url_of(data_url: str, data_dir: Path) -> str:
    """Return the configured URL, or that of the SQLite file in the data folder when none is set."""
    return data_url or f"sqlite:///{data_dir / 'ferry.db'}"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # SQLite's own knows ASCII alone; a search is to find ÄRGER and ПРИВЕТ too.
    connection.create_function("lower", 1, _lower, deterministic=True)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # a deleted conversation leaves no text in free pages
    cursor.close()


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value
