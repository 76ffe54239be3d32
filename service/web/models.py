"""The tables. Times are seconds since 1970, tokens and keys are stored as SHA-256 only.

A change here needs a file in migrations/versions, which a test compares with this module.
"""

from __future__ import annotations

import hashlib
import time
from typing import ClassVar

from sqlalchemy import BigInteger, Double, ForeignKey, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_ID = 2**31 - 1  # what an Integer holds in every database
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


def digest(secret: str) -> str:
    """Hash a random token for storage. Plain SHA-256 suffices for 256 random bits; passwords use argon2."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[type, type]] = {float: Double}


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    folded_name: Mapped[str] = mapped_column(String(256), unique=True)  # what a login is compared with
    password_hash: Mapped[str] = mapped_column(String(256))  # "" where another server checks the password
    role: Mapped[str] = mapped_column(String(16))
    is_enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[float] = mapped_column(default=time.time)
    source: Mapped[str] = mapped_column(String(16), default="local")  # local | ldap | proxy | guest
    must_change: Mapped[bool] = mapped_column(default=False)  # a one-time password: to be changed at the first login
    consented_at: Mapped[float | None]  # to an audit log that holds the text
    tokens_per_day: Mapped[int | None]  # None: the setting for everybody
    last_login_at: Mapped[float | None]


class Login(Base):
    """One browser that somebody logged in with."""

    __tablename__ = "logins"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float] = mapped_column(default=time.time)
    expires_at: Mapped[float]
    last_seen_at: Mapped[float] = mapped_column(default=time.time)
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(256), default="")  # the browser, as it names itself


class Failure(Base):
    """Refused logins in a row, for a name or an address; see service.web.lockout."""

    __tablename__ = "failures"

    subject: Mapped[str] = mapped_column(String(320), primary_key=True)
    count: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[float]


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[float] = mapped_column(default=time.time)
    revoked_at: Mapped[float | None]
    start: Mapped[str] = mapped_column(String(16), default="")  # its first characters, to tell it by
    last_used_at: Mapped[float | None]
    tokens_per_day: Mapped[int | None]  # None: that of its user


class Usage(Base):
    """What somebody used on a day: `subject` is a Caller's quota_id, `day` counts from 1970 in UTC."""

    __tablename__ = "usage"

    subject: Mapped[str] = mapped_column(String(32), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    requests: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(BigInteger, default=0)


class Setting(Base):
    """What an administrator set on the page, as JSON; it goes before the same key of ferry.toml."""

    __tablename__ = "settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    changed_by: Mapped[str] = mapped_column(String(64), default="")
    changed_at: Mapped[float] = mapped_column(default=time.time)


class Conversation(Base):
    __tablename__ = "conversations"
    __table_args__ = (Index("ix_conversations_user_id_updated_at", "user_id", "updated_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(120), default="")
    created_at: Mapped[float] = mapped_column(default=time.time)
    updated_at: Mapped[float] = mapped_column(default=time.time)
    leaf_id: Mapped[int | None]  # the last message of the branch that is shown


class Message(Base):
    """A question or an answer. `state` is "partial" until an answer has ended, so that a crash leaves the truth.

    A question that was edited and an answer that was made again are children of the same message: branches.
    """

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(16))  # user | assistant
    content: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(String(16))  # complete | length | stopped | failed | partial
    created_at: Mapped[float] = mapped_column(default=time.time)
    parent_id: Mapped[int | None] = mapped_column(index=True)  # in the same conversation; None: it begins one
    prompt_tokens: Mapped[int | None]  # of an answer, as are those that follow
    cached_tokens: Mapped[int | None]
    answer_tokens: Mapped[int | None]
    tokens_per_s: Mapped[float | None]
    first_id: Mapped[int | None]  # the first question that the model was shown for it
