"""The database: opening it, and bringing it to this release's tables.

In: a database URL. Out: short transactions (`with database.begin() as session`). Nothing may hold one while it streams:
under gevent a worker has hundreds of streams and a handful of connections.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

MIGRATIONS = Path(__file__).parent / "migrations"
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


def migrate(database: Database, lock_dir: Path) -> tuple[str, bool]:
    """Bring the tables to this release's revision. Returns it, and whether anything changed."""
    # Imported here: alembic costs every start of the worker 0.1 s and 10 MB for something the parent has done.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _locked(lock_dir / ".migrate.lock"), database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            # Python's driver opens no transaction for CREATE TABLE: a kill would leave half of the tables.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        before = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(config, "head")
        after = MigrationContext.configure(connection).get_current_revision()
    return str(after), before != after


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA secure_delete=ON")  # a deleted conversation leaves no text in free pages
    cursor.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock: an admin command and the starting web would otherwise migrate at the same time."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
