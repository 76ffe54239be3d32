"""Who used how much: requests and tokens are counted for each subject and day (UTC), and held against quotas.

A subject is a user or a key, by the name that the engine's queue knows it by. A key that belongs to a user counts for
both. The tokens are those of OpenAI's usage.total_tokens: the prompt's and the answer's. An answer is refused before it
begins, never in its middle: the last one of a day may go beyond the quota.

Each answer costs one read, where there is a quota at all, and one write; a stream holds no transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.web.database import Database
from service.web.errors import Refusal
from service.web.models import ApiKey, User
from service.web.models import Usage as Row

log = logging.getLogger(__name__)
DAY_S = 86_400
KEEP_DAYS = 400
MONTH_DAYS = 30


class Charged(Protocol):
    """Whoever is counted: a Caller. `key_id` is None for a person, `user_id` for a key that belongs to nobody."""

    @property
    def user_id(self) -> int | None: ...
    @property
    def key_id(self) -> int | None: ...


@dataclass(frozen=True)
class Used:
    """What a subject used, today and in the last 30 days with today."""

    requests_today: int = 0
    tokens_today: int = 0
    requests: int = 0
    tokens: int = 0


class Usage:
    """Counts answers and refuses those beyond a quota, for all workers: the numbers are in the database."""

    def __init__(self, database: Database, default: Callable[[], int], now: Callable[[], float] = time.time) -> None:
        """`default` tells the tokens a day of those who have no quota of their own, 0 for no limit."""
        self._database = database
        self._default = default
        self._now = now
        self._pruned_on = 0

    def check(self, caller: Charged) -> None:
        """Refuse whoever has used up the day's tokens. Raises: Refusal 429, in OpenAI's words."""
        now, default = self._now(), self._default()
        with self._database.begin() as session:
            limits = limits_of(session, caller, default)
            used = tokens_on(session, day_of(now), limits) if limits else {}
        for subject, limit in limits.items():
            if used.get(subject, 0) >= limit:
                raise _used_up(used[subject], limit, DAY_S - int(now) % DAY_S)

    def own(self, caller: Charged) -> tuple[Used, int]:
        """Return what the caller used, as a person, and the tokens of a day; 0 is no limit."""
        if caller.user_id is None:
            return Used(), 0
        subject = user_subject(caller.user_id)
        with self._database.begin() as session:
            used = summary(session, day_of(self._now()), [subject])
            return used.get(subject, Used()), limits_of(session, caller, self._default()).get(subject, 0)

    def charge(self, caller: Charged, tokens: int) -> None:
        """Count an answer that has ended, however it ended."""
        today, subjects = day_of(self._now()), subjects_of(caller)
        try:
            with self._database.begin() as session:
                for subject in subjects:
                    add(session, subject, today, tokens)
                if today != self._pruned_on:
                    session.execute(delete(Row).where(Row.day < today - KEEP_DAYS))
            self._pruned_on = today
        except SQLAlchemyError:
            # The answer is given already: what is left to do is to say so.
            log.exception("%d tokens of %s could not be counted", tokens, subjects)


def user_subject(user_id: int) -> str:
    return f"user-{user_id}"


def key_subject(key_id: int) -> str:
    return f"key-{key_id}"


def subjects_of(caller: Charged) -> list[str]:
    """Return what the caller is counted as: always in the same order, so that two workers never wait for each other."""
    keys = [] if caller.key_id is None else [key_subject(caller.key_id)]
    return keys + ([] if caller.user_id is None else [user_subject(caller.user_id)])


def limits_of(session: Session, caller: Charged, default: int) -> dict[str, int]:
    """Return the tokens a day of each subject that has a limit.

    In the tables None is the default for a user and for a key of nobody, and nothing of its own for a user's key;
    0 is no limit at all.
    """
    found: dict[str, int] = {}
    if caller.user_id is not None:
        own = session.scalar(select(User.tokens_per_day).where(User.id == caller.user_id))
        found[user_subject(caller.user_id)] = default if own is None else own
    if caller.key_id is not None:
        own = session.scalar(select(ApiKey.tokens_per_day).where(ApiKey.id == caller.key_id))
        found[key_subject(caller.key_id)] = (default if caller.user_id is None else 0) if own is None else own
    return {subject: limit for subject, limit in found.items() if limit}


def day_of(seconds: float) -> int:
    """Return the day of a time, counted from 1970 in UTC."""
    return int(seconds // DAY_S)


def tokens_on(session: Session, day: int, subjects: Iterable[str]) -> Mapping[str, int]:
    """Return the tokens that each subject used on a day; who used none is missing."""
    rows = session.execute(select(Row.subject, Row.tokens).where(Row.day == day, Row.subject.in_(list(subjects))))
    return {row.subject: row.tokens for row in rows}


def add(session: Session, subject: str, day: int, tokens: int) -> None:
    """Count one more request: a single statement, so that two workers never lose one another's."""
    dialect: Any = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(Row).values(subject=subject, day=day, requests=1, tokens=tokens)
    more = {"requests": Row.requests + 1, "tokens": Row.tokens + tokens}
    session.execute(statement.on_conflict_do_update(index_elements=[Row.subject, Row.day], set_=more))


def summary(session: Session, today: int, subjects: Sequence[str]) -> dict[str, Used]:
    """Return what each of the subjects used; who used nothing in the last 30 days is missing."""
    known = Row.subject.in_(list(subjects))
    month, day = _sums(session, known, Row.day > today - MONTH_DAYS), _sums(session, known, Row.day == today)
    return {subject: Used(*day.get(subject, (0, 0)), *sums) for subject, sums in month.items()}


def daily(session: Session, today: int) -> list[tuple[int, int, int]]:
    """Return day, requests and tokens of users and keys without one, for each of the last 30 days that had any."""
    # A user's keys count for the user too: those rows would be counted twice.
    owned = select(ApiKey.id).where(ApiKey.user_id.is_not(None))
    names = set(map(key_subject, session.scalars(owned)))
    rows = session.execute(select(Row).where(Row.day > today - MONTH_DAYS)).scalars()
    found: dict[int, tuple[int, int]] = {}
    for row in rows:
        if row.subject not in names:
            requests, tokens = found.get(row.day, (0, 0))
            found[row.day] = (requests + row.requests, tokens + row.tokens)
    return [(day, *found[day]) for day in sorted(found)]


def _sums(session: Session, *conditions: ColumnElement[bool]) -> dict[str, tuple[int, int]]:
    columns = select(Row.subject, func.sum(Row.requests), func.sum(Row.tokens))
    rows = session.execute(columns.where(*conditions).group_by(Row.subject))
    return {subject: (int(requests), int(tokens)) for subject, requests, tokens in rows}


def _used_up(used: int, limit: int, left_s: int) -> Refusal:
    message = f"The day's tokens are used up: {used} of {limit}. A new day begins at midnight UTC, in {left_s} s."
    return Refusal(429, "insufficient_quota", message, retry_after=str(left_s))
