"""Accounts. Every function works inside the caller's transaction.

Who is logged in is left to service.web.sessions, and what it takes to log in to service.web.login.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.web.errors import AdminError
from service.web.models import Login, User
from service.web.passwords import hash_password

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
    must_change: bool = False  # the password was a one-time one: nothing else is allowed before it is changed
    has_login: bool = False  # there is a session that can be ended


def add_user(session: Session, name: str, password: str, role: str, *, must_change: bool = False) -> User:
    """Create an account. Raises: AdminError for a name that is taken or cannot be one, or a password too short."""
    name = _checked_name(name)
    if find_user(session, name) is not None:
        raise AdminError(f"user {name}: exists already", "list them with: ferry user list")
    check_password(password)
    user = _new_user(session, name, role)
    user.password_hash, user.must_change = hash_password(password), must_change
    return user


def add_known(session: Session, name: str, source: str, role: str = "user") -> User:
    """Create an account for somebody whose password another server checks. Raises: AdminError for what is no name."""
    user = _new_user(session, _checked_name(name), role)
    user.source = source
    return user


def _new_user(session: Session, name: str, role: str) -> User:
    user = User(name=name, folded_name=fold(name), password_hash="", role=role)
    session.add(user)
    session.flush()
    return user


def find_user(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.folded_name == fold(name)))


def get_user(session: Session, name: str) -> User:
    """Find an account. Raises: AdminError when there is none of that name."""
    user = find_user(session, name)
    if user is None:
        raise AdminError(f"user {name}: no such user", "list them with: ferry user list")
    return user


def set_password(session: Session, user: User, password: str, *, must_change: bool = False) -> None:
    """Change the password and end every login that was made with the old one.

    Raises: AdminError for a password too short, or an account whose password another server checks.
    """
    if user.source != "local":
        raise AdminError(f"user {user.name}: has no password here ({user.source})", "change it where it is kept", 2)
    check_password(password)
    set_password_hash(session, user, hash_password(password), must_change=must_change)


def set_password_hash(session: Session, user: User, password_hash: str, *, must_change: bool = False) -> None:
    """Change the password to one that was checked and hashed already, and end every login made with the old one."""
    user.password_hash, user.must_change = password_hash, must_change
    _end_logins(session, user)


def set_role(session: Session, user: User, role: str) -> None:
    """Change what an account may do. Raises: AdminError when no administrator would be left."""
    if user.role == "administrator" != role and not other_administrators(session, user):
        raise AdminError(f"user {user.name}: is the only administrator", "make another one first: ferry user role")
    user.role = role


def set_enabled(session: Session, user: User, is_enabled: bool) -> None:
    """Allow or forbid an account; forbidding ends its logins."""
    user.is_enabled = is_enabled
    if not is_enabled:
        _end_logins(session, user)


def other_administrators(session: Session, user: User) -> int:
    """Count the enabled administrators beside this account."""
    query = select(func.count()).where(User.role == "administrator", User.is_enabled, User.id != user.id)
    return session.scalar(query) or 0


def _end_logins(session: Session, user: User) -> None:
    session.execute(delete(Login).where(Login.user_id == user.id))


def fold(name: str) -> str:
    """Return what two names that look alike have in common."""
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


def check_password(password: str) -> None:
    """Raises: AdminError for a password too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise AdminError(
            f"the password has {len(password)} characters", f"use {MIN_PASSWORD} to {MAX_PASSWORD} characters", 2
        )
