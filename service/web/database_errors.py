"""What a database says when it cannot be used: an exception of SQLAlchemy's comes in, words or a refusal go out."""

from __future__ import annotations

import logging

from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.web.errors import AdminError, Refusal

log = logging.getLogger(__name__)
# What passes by itself: the server is away or starts, a lock is held, every connection of the pool is in use.
AWAY = (OperationalError, InterfaceError, PoolTimeout)
UNUSABLE = (*AWAY, DataError)


def refusal_of(error: SQLAlchemyError) -> Refusal:
    """Turn what a request ran into into its answer; the log is told more than the client."""
    if isinstance(error, DataError):
        return Refusal(400, "bad_value", "Something in the request is too long or has characters that cannot be kept.")
    log.error("the database cannot be used: %s", words_of(error))
    return Refusal(503, "database_away", "The database cannot be used now. Try again in a moment.", retry_after="5")


def admin_error_of(error: SQLAlchemyError, url: URL) -> AdminError:
    """Turn what a command or a start ran into into its end."""
    if url.get_backend_name() == "sqlite":
        return AdminError(
            f"the database cannot be used: {words_of(error)}",
            "run it by the ferry command, which is the service's user",
        )
    place = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database}"
    return AdminError(
        f"the database at {place} cannot be used: {words_of(error)}",
        "start that server, or correct [data] url and password_file in ferry.toml",
    )


def words_of(error: SQLAlchemyError) -> str:
    """Return what the driver said, in one line and without the statement and its values."""
    said = str(getattr(error, "orig", None) or error)
    lines = [line.strip() for line in said.splitlines()]
    return next((line for line in lines if line), type(error).__name__)
