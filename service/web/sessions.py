"""The browsers that are logged in: begun, found again by their cookie, listed, ended. Inside the caller's transaction.

A cookie holds a random token, the table its digest alone. `handle` names a login on a page without telling either.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.web.accounts import Caller
from service.web.models import Login, User, digest

SEEN_EVERY_S = 60  # a request a second would be a write a second
HANDLE_LENGTH = 16
MAX_AGENT = 256


@dataclass(frozen=True)
class Browser:
    """Where a login is made from: the client's address, and what its browser calls itself."""

    address: str = ""
    agent: str = ""


def start(session: Session, user: User, hours: int, browser: Browser = Browser()) -> str:  # frozen
    """Log a browser in. Returns the token for its cookie; only a digest of it is kept."""
    now = time.time()
    session.execute(delete(Login).where(Login.expires_at < now))
    token = secrets.token_urlsafe(32)
    session.add(
        Login(
            token_hash=digest(token),
            user_id=user.id,
            csrf_token=secrets.token_urlsafe(32),
            expires_at=now + hours * 3600,
            address=browser.address[:64],
            agent=browser.agent[:MAX_AGENT],
        )
    )
    user.last_login_at = now
    return token


def find(session: Session, token: str, now: float | None = None) -> Caller | None:
    """Return who a cookie's token belongs to, if it is still good; note once a minute that it was seen."""
    now = time.time() if now is None else now
    row = session.execute(
        select(Login, User).join(User).where(Login.token_hash == digest(token), Login.expires_at > now)
    ).one_or_none()
    if row is None or not row.User.is_enabled:
        return None
    if now - row.Login.last_seen_at >= SEEN_EVERY_S:
        # An UPDATE, not an object: somebody may be ending this login at the same moment.
        session.execute(update(Login).where(Login.token_hash == row.Login.token_hash).values(last_seen_at=now))
    return Caller(
        row.User.id,
        row.User.name,
        row.User.role,
        f"user-{row.User.id}",
        row.Login.csrf_token,
        must_change=row.User.must_change,
        has_login=True,
    )


def end(session: Session, token: str) -> None:
    session.execute(delete(Login).where(Login.token_hash == digest(token)))


def list_all(session: Session, user_id: int) -> Sequence[Login]:
    """Return a user's logins that are still good, the last seen first."""
    query = select(Login).where(Login.user_id == user_id, Login.expires_at > time.time())
    return session.scalars(query.order_by(Login.last_seen_at.desc())).all()


def handle(login: Login) -> str:
    """Return the name that a page has for a login."""
    return login.token_hash[:HANDLE_LENGTH]


def is_of(login: Login, token: str) -> bool:
    """Say whether a cookie's token is that of a login."""
    return login.token_hash == digest(token)


def end_one(session: Session, user_id: int, name: str) -> bool:
    """End one of the user's own logins by its handle; say whether there was one."""
    for login in list_all(session, user_id):
        if handle(login) == name:
            session.delete(login)
            return True
    return False


def end_others(session: Session, user_id: int, token: str = "") -> int:
    """End the user's logins but the one of this cookie's token. Returns how many there were."""
    others = [login for login in list_all(session, user_id) if login.token_hash != digest(token)]
    session.execute(delete(Login).where(Login.user_id == user_id, Login.token_hash != digest(token)))
    return len(others)
