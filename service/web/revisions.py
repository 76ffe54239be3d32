"""The database's revisions, there and back: forward at every start, backward when an older release takes over again.

Each file in migrations/versions holds `upgrade`, `downgrade` and `losses`. A step is done whole or not at all, and
nothing but a step of its own may touch a row: on SQLite a table that is copied is dropped, and dropping a table whose
rows others refer to deletes those too, unless foreign keys are off meanwhile.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from service.web.database import Database
from service.web.database_errors import AWAY, admin_error_of
from service.web.errors import AdminError

MIGRATIONS = Path(__file__).parent / "migrations"
# Before the first step: no tables at all.
BASE = "base"
UNKNOWN = 4
# "FERRY", for PostgreSQL: whoever changes the tables holds it.
LOCK_NUMBER = 0x4645525259


@dataclass(frozen=True)
class Way:
    """What a way back does: from one revision to an older one, and what of the data the older one cannot keep."""

    start: str
    end: str
    losses: tuple[str, ...]


def known() -> list[str]:
    """Return the revisions that this release has files for, oldest first."""
    return [str(step.revision) for step in _scripts().walk_revisions()][::-1]


def current(database: Database) -> str | None:
    """Return the revision of a database, None where it has no tables yet; makes no file."""
    url = database.engine.url
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return None
    with _connected(database) as connection:
        return _current(connection)


def migrate(database: Database, lock_dir: Path) -> tuple[str, bool]:
    """Bring the tables to this release's revision. Returns it, and whether anything changed.

    Raises: AdminError when the database comes from a newer release.
    """
    with _changing(database, lock_dir) as connection:
        before, newest = _current(connection), known()[-1]
        _demand_known(before)
        if before == newest:
            return newest, False
        # Not at every start: it takes templates and all their highlighters along.
        from alembic import command

        with _references_kept(connection):
            command.upgrade(_config(connection), newest)
    return newest, True


def way_back(database: Database, lock_dir: Path, target: str) -> Way:
    """Say what going back to a revision would lose, and change nothing."""
    with _changing(database, lock_dir) as connection:
        return _way(connection, target)


def downgrade(database: Database, lock_dir: Path, target: str) -> Way:
    """Bring the tables back to an older revision, and return what that lost.

    Raises: AdminError when this release does not know the way.
    """
    from alembic import command

    with _changing(database, lock_dir) as connection:
        way = _way(connection, target)
        if way.start != way.end:
            with _references_kept(connection):
                command.downgrade(_config(connection), target)
    return way


def _way(connection: Connection, target: str) -> Way:
    start = _current(connection) or BASE
    _demand_known(start)
    order = [BASE, *known()]
    if target not in order:
        raise AdminError(f"revision {target}: this release does not know it", "see: revision --json", UNKNOWN)
    if order.index(target) > order.index(start):
        raise AdminError(f"revision {target}: newer than {start}, where the database is", "forward goes without --to")
    steps = order[order.index(target) + 1 : order.index(start) + 1][::-1]
    modules = [_scripts().get_revision(step).module for step in steps]
    return Way(start, target, tuple(loss for module in modules for loss in module.losses(connection)))


def _demand_known(revision: str | None) -> None:
    if revision not in (None, BASE) and revision not in known():
        raise AdminError(
            f"the database is at revision {revision}, which this release does not know: a newer one wrote it",
            "install that release again, or restore a backup that this one made",
            UNKNOWN,
        )


def _scripts() -> Any:
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(MIGRATIONS))


def _config(connection: Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    # Imported late, as all of alembic: it costs every start of the worker 0.1 s and 10 MB for what the parent did.
    from alembic.runtime.migration import MigrationContext

    found = MigrationContext.configure(connection).get_current_revision()
    return None if found is None else str(found)


@contextmanager
def _changing(database: Database, lock_dir: Path) -> Iterator[Connection]:
    """Give a connection in a transaction that nobody else writes beside; it is committed at the end of the block."""
    with _locked(lock_dir / ".migrate.lock"), _connected(database) as connection:
        try:
            if database.is_sqlite:
                # No effect inside a transaction, so before it.
                connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
                # Python's driver opens no transaction for CREATE TABLE: a kill would leave half of the tables.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                # Another machine may start on the same tables; it ends with the transaction.
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})")
            yield connection
            connection.commit()
        finally:
            if database.is_sqlite:
                connection.rollback()
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")


@contextmanager
def _connected(database: Database) -> Iterator[Connection]:
    """Connect. Raises: AdminError when the database is away, with the driver's error as its cause."""
    try:
        connection = database.engine.connect()
    except AWAY as error:
        raise admin_error_of(error, database.engine.url) from error
    with connection:
        yield connection


@contextmanager
def _references_kept(connection: Connection) -> Iterator[None]:
    """Refuse a step after which a row refers to one that is not there, and did not before."""
    before = _dangling(connection)
    yield
    if _dangling(connection) > before:
        raise AdminError("the migration would lose rows that others refer to; nothing was changed", "report this fault")


def _dangling(connection: Connection) -> int:
    if connection.dialect.name != "sqlite":
        return 0
    return len(connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock: an admin command and the starting web would otherwise migrate at the same time."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
