"""API keys: shown once, kept as a digest. Every function works inside the caller's transaction."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.web.accounts import Caller
from service.web.errors import AdminError
from service.web.models import ApiKey, Usage, User, digest
from service.web.usage import key_subject

PREFIX = "ferry-"  # lets a secret scanner and a person recognise one
MAX_NAME = 64
START = 10  # characters that are shown to tell a key by; the other 39 remain
USED_EVERY_S = 60


def add_key(session: Session, name: str, user: User | None = None, tokens_per_day: int | None = None) -> str:
    """Make a key and return it, for the only time. Raises: AdminError for a name that is taken or cannot be one."""
    if not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
        raise AdminError(f"key {name!r}: is no name for a key", f"use 1 to {MAX_NAME} printable characters", 2)
    if session.scalar(select(ApiKey).where(ApiKey.name == name)) is not None:
        raise AdminError(f"key {name}: exists already", "choose another name; list them with: ferry key list")
    key = PREFIX + secrets.token_urlsafe(32)
    session.add(
        ApiKey(
            name=name,
            key_hash=digest(key),
            user_id=user.id if user else None,
            start=key[:START],
            tokens_per_day=tokens_per_day,
        )
    )
    session.flush()
    _begin_at_zero(session, name)
    return key


def _begin_at_zero(session: Session, name: str) -> None:
    """Forget what a removed key used: SQLite gives its number to the next one."""
    number = session.scalar(select(ApiKey.id).where(ApiKey.name == name)) or 0
    session.execute(delete(Usage).where(Usage.subject == key_subject(number)))


def list_of(session: Session, user_id: int) -> Sequence[ApiKey]:
    """Return the user's keys that still work, oldest first."""
    query = select(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    return session.scalars(query.order_by(ApiKey.id)).all()


def revoke_own(session: Session, user_id: int, key_id: int) -> str:
    """Make one of the user's own keys useless. Returns its name, "" when there is none such."""
    key = session.get(ApiKey, key_id)
    if key is None or key.user_id != user_id or key.revoked_at is not None:
        return ""
    key.revoked_at = time.time()
    return key.name


def own_name(user: str, name: str) -> str:
    """Return the name that a key made on somebody's account page has: two people may both have their "script"."""
    return f"{user}/{name}"


def list_keys(session: Session) -> Sequence[tuple[ApiKey, User | None]]:
    """Return every key with the user it belongs to, oldest first."""
    rows = session.execute(select(ApiKey, User).outerjoin(User).order_by(ApiKey.id))
    return [(row.ApiKey, row.User) for row in rows]


def revoke_key(session: Session, name: str) -> None:
    """Make a key useless from now on. Raises: AdminError when there is none of that name."""
    key = session.scalar(select(ApiKey).where(ApiKey.name == name))
    if key is None:
        raise AdminError(f"key {name}: no such key", "list them with: ferry key list")
    key.revoked_at = key.revoked_at or time.time()


def remove_key(session: Session, name: str) -> None:
    """Delete a key without a trace; for the self-test's own."""
    session.execute(delete(ApiKey).where(ApiKey.name == name))


def find_key(session: Session, key: str) -> Caller | None:
    """Return who a key belongs to, if it is still good and so is its user."""
    row = session.execute(
        select(ApiKey, User).outerjoin(User).where(ApiKey.key_hash == digest(key), ApiKey.revoked_at.is_(None))
    ).one_or_none()
    if row is None or (row.User is not None and not row.User.is_enabled):
        return None
    now = time.time()
    if now - (row.ApiKey.last_used_at or 0) >= USED_EVERY_S:
        session.execute(update(ApiKey).where(ApiKey.id == row.ApiKey.id).values(last_used_at=now))
    if row.User is None:
        return Caller(None, f"key {row.ApiKey.name}", "user", f"key-{row.ApiKey.id}", key_id=row.ApiKey.id)
    return Caller(row.User.id, row.User.name, row.User.role, f"user-{row.User.id}", key_id=row.ApiKey.id)
