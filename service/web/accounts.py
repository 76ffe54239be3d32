"""Accounts and the browsers that are logged in to them. Every function works inside the caller's transaction."""

from __future__ import annotations

import secrets
import time
import unicodedata
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.web.errors import AdminError
from service.web.models import Login, User, digest
from service.web.passwords import hash_password, is_password

ROLES = ("user", "administrator", "auditor")
MIN_PASSWORD = 8
MAX_PASSWORD = 1024  # argon2 would hash a megabyte too, and so would everybody who asks for it
MAX_NAME = 64


@dataclass(frozen=True)
class Caller:
    """Who a request comes from. `csrf_token` is empty for an API key, `key_id` is None for a person."""

    user_id: int | None
    name: str
    role: str
    quota_id: str  # what the engine's queue counts by
    csrf_token: str = ""
    key_id: int | None = None


def add_user(session: Session, name: str, password: str, role: str) -> User:
    """Create an account. Raises: AdminError for a name that is taken or cannot be one, or a password too short."""
    name = _checked_name(name)
    if find_user(session, name) is not None:
        raise AdminError(f"user {name}: exists already", "list them with: ferry user list")
    _check_password(password)
    user = User(name=name, folded_name=_fold(name), password_hash=hash_password(password), role=role)
    session.add(user)
    session.flush()
    return user


def find_user(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.folded_name == _fold(name)))


def get_user(session: Session, name: str) -> User:
    """Find an account. Raises: AdminError when there is none of that name."""
    user = find_user(session, name)
    if user is None:
        raise AdminError(f"user {name}: no such user", "list them with: ferry user list")
    return user


def set_password(session: Session, user: User, password: str) -> None:
    """Change the password and end every login that was made with the old one."""
    _check_password(password)
    user.password_hash = hash_password(password)
    _end_logins(session, user)


def set_enabled(session: Session, user: User, is_enabled: bool) -> None:
    """Allow or forbid an account; forbidding ends its logins."""
    user.is_enabled = is_enabled
    if not is_enabled:
        _end_logins(session, user)


def authenticate(session: Session, name: str, password: str) -> User | None:
    """Return the user when name and password fit. Takes the same time for each reason to say no."""
    if len(password) > MAX_PASSWORD or len(name) > MAX_NAME:
        return None
    user = find_user(session, name)
    is_right = is_password(password, user.password_hash if user else None)
    return user if user and is_right and user.is_enabled else None


def start_login(session: Session, user: User, hours: int) -> str:
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
        )
    )
    return token


def find_login(session: Session, token: str) -> Caller | None:
    """Return who a cookie's token belongs to, if it is still good."""
    row = session.execute(
        select(Login, User).join(User).where(Login.token_hash == digest(token), Login.expires_at > time.time())
    ).one_or_none()
    if row is None or not row.User.is_enabled:
        return None
    return Caller(row.User.id, row.User.name, row.User.role, f"user-{row.User.id}", row.Login.csrf_token)


def end_login(session: Session, token: str) -> None:
    session.execute(delete(Login).where(Login.token_hash == digest(token)))


def _end_logins(session: Session, user: User) -> None:
    session.execute(delete(Login).where(Login.user_id == user.id))


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _checked_name(name: str) -> str:
    name = unicodedata.normalize("NFKC", name)
    if not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise AdminError(
            f"user {name!r}: is no name for a user",
            f"use 1 to {MAX_NAME} printable characters, no space at the ends",
            2,
        )
    return name


def _check_password(password: str) -> None:
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AdminError(
            f"the password has {len(password)} characters", f"use {MIN_PASSWORD} to {MAX_PASSWORD} characters", 2
        )
