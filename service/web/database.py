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

from service.config import ConfigError, Data

BUSY_TIMEOUT_S = 15
# A worker's transactions take milliseconds: these serve thousands of streams, and four workers fit into the 100
# connections that a PostgreSQL server takes by default.
POOL_SIZE, MOST_CONNECTIONS = 5, 20
POOL_TIMEOUT_S = 10
# A server that vanished without a word is noticed after so long, https://www.postgresql.org/docs/current/libpq-connect.html.
SERVER_OPTIONS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "ferry",
}
MAX_PASSWORD_BYTES = 8192


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
            event.listen(self.engine, "connect", _prepare_sqlite)
        else:
            self.engine = create_engine(
                url,
                connect_args=SERVER_OPTIONS,
                pool_size=POOL_SIZE,
                max_overflow=MOST_CONNECTIONS - POOL_SIZE,
                pool_timeout=POOL_TIMEOUT_S,
                pool_pre_ping=True,  # a connection that the server closed meanwhile is replaced, not an error
            )
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @classmethod
    def of(cls, settings: Data, data_dir: Path) -> Database:
        """Open what the settings name. Raises: ConfigError when the password's file cannot be used."""
        return cls(url_of(settings.url, data_dir, settings.password_file))

    def begin(self) -> AbstractContextManager[Session]:
        """Open a transaction that commits at the end of the block and rolls back on any exception."""
        return self._sessions.begin()

    def close(self) -> None:
        self.engine.dispose()


def url_of(data_url: str, data_dir: Path, password_file: str = "") -> str:
    """Return the configured URL with its password, or that of the SQLite file in the data folder when none is set.

    Raises: ConfigError when the password's file cannot be used.
    """
    if not data_url:
        return f"sqlite:///{data_dir / 'ferry.db'}"
    url = make_url(data_url)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if password_file:
        url = url.set(password=_password(password_file))
    return url.render_as_string(hide_password=False)


def _password(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            password = file.read(MAX_PASSWORD_BYTES).decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"ferry.toml: [data] password_file: {name}: {error.strerror}",
            f"let the service read it: chgrp ferry {name}; chmod 640 {name}",
        ) from error
    except UnicodeDecodeError:
        password = ""
    if not password or "\0" in password:
        raise ConfigError(f"ferry.toml: [data] password_file: {name}: holds no password", "put it alone into it")
    return password


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
