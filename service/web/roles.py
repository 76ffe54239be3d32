"""Who administers: no change may leave the service without somebody who can log in and administer it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.web.models import User

ADMINISTRATOR = "administrator"


class LastAdministrator(Exception):
    """After the change there would be no administrator; the transaction has to be rolled back."""


@contextmanager
def keeping_an_administrator(session: Session) -> Iterator[None]:
    """Hold the block's change to that rule, whatever another worker changes now. Raises: LastAdministrator."""
    administrators = User.role == ADMINISTRATOR, User.is_enabled
    # PostgreSQL lets two of them change at once, and each would still see the other: so they are locked, in one order.
    # SQLite has one writer, who sees all that others have written.
    session.execute(select(User.id).where(*administrators).order_by(User.id).with_for_update())
    yield
    session.flush()
    if not session.scalar(select(func.count()).select_from(User).where(*administrators)):
        raise LastAdministrator
