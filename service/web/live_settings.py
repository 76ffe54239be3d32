"""What an administrator set on the page: it goes before ferry.toml, in every worker, within two seconds.

In: the settings of the file, and the table. Out: a `Config` like that of the file. Only what the web itself applies can
be set so; what the engine reads when it starts stays in the file. Values are held to the rules of service.config.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from service.config import Config, rule_of
from service.config_rules import Rule, toml, whole_rule
from service.web.database import Database
from service.web.models import Setting

log = logging.getLogger(__name__)
FRESH_S = 2.0
KEYS = (
    ("engine", "system_prompt"),
    ("engine", "max_new_tokens"),
    ("history", "turns"),
    ("quota", "tokens_per_day"),
    ("queue", "per_user"),
    ("web", "session_hours"),
)


class BadSetting(Exception):
    """A value that the setting does not accept; `allowed` says what it does."""

    def __init__(self, allowed: str) -> None:
        super().__init__(allowed)
        self.allowed = allowed


@dataclass(frozen=True)
class Shown:
    """One setting as the page shows it. `changed_by` is "" where the file's value holds."""

    name: str
    rule: Rule
    of_file: Any
    value: Any
    changed_by: str = ""
    changed_at: float = 0.0

    @property
    def is_set(self) -> bool:
        return self.changed_at > 0

    @property
    def is_text(self) -> bool:
        return self.rule.kind is str

    @property
    def file_line(self) -> str:
        """The file's line, as it stands there or is meant where it is left out."""
        section, _, key = self.name.partition(".")
        return f"[{section}] {key} = {toml(self.of_file)}"


class LiveSettings:
    """The settings that hold now, read again when they are older than two seconds."""

    def __init__(
        self, config: Config, database: Database, clock: Callable[[], float] = time.monotonic, is_local: bool = True
    ) -> None:
        """`is_local` says that the engine is this server's own, and reads the same file."""
        self._of_file = config
        self._database = database
        self._clock = clock
        self._is_local = is_local
        self._current = config
        self._names: frozenset[str] = frozenset()
        self._read_at: float | None = None

    def current(self) -> Config:
        """Return what holds. A database that is away changes nothing."""
        now = self._clock()
        if self._read_at is None or now - self._read_at >= FRESH_S:
            self._read_at = now  # before the read: under gevent others come by meanwhile
            try:
                with self._database.begin() as session:
                    values = self._values(session)
                self._current, self._names = merged(self._of_file, values), frozenset(values)
            except SQLAlchemyError as error:
                log.warning("the settings of the administration page cannot be read: %s", error)
        return self._current

    def is_set(self, name: str) -> bool:
        """Tell whether somebody set this on the page."""
        self.current()
        return name in self._names

    def per_user(self) -> int | None:
        """Return how many questions of one user the engine is to take, None where its own file says so."""
        return self.current().queue.per_user if self.is_set("queue.per_user") else None

    def shown(self, session: Session) -> list[Shown]:
        """Return every setting that can be set on the page, as it stands in the table now."""
        rows = {row.name: row for row in session.scalars(select(Setting))}
        values = self._values(session)
        return [self._shown(section, key, rows, values) for section, key in KEYS]

    def _shown(self, section: str, key: str, rows: Mapping[str, Setting], values: Mapping[str, Any]) -> Shown:
        name = f"{section}.{key}"
        of_file = getattr(getattr(self._of_file, section), key)
        if name not in values:
            return Shown(name, self._rule(section, key), of_file, of_file)
        row = rows[name]
        return Shown(name, self._rule(section, key), of_file, values[name], row.changed_by, row.changed_at)

    def put(self, session: Session, name: str, text: str, by: str) -> Any:
        """Set what a form sent. Returns: the value. Raises: KeyError for no such setting, BadSetting."""
        section, key = _parts(name)
        rule = self._rule(section, key)
        value = _parsed(text, rule)
        session.merge(Setting(name=name, value=json.dumps(value), changed_by=by, changed_at=time.time()))
        return value

    def reset(self, session: Session, name: str) -> None:
        """Let the file's value hold again. Raises: KeyError for no such setting."""
        _parts(name)
        session.execute(delete(Setting).where(Setting.name == name))

    def forget(self) -> None:
        """Read the table again with the next look: for the worker that has just changed it."""
        self._read_at = None

    def _rule(self, section: str, key: str) -> Rule:
        """Return the file's rule; what the engine bounds by its own file can only be lowered here."""
        rule = rule_of(section, key)
        if not (self._is_local and (section, key) == ("engine", "max_new_tokens")):
            return rule
        most = self._of_file.engine.max_new_tokens
        return whole_rule(1, most)

    def _values(self, session: Session) -> dict[str, Any]:
        found = {}
        for name, text in session.execute(select(Setting.name, Setting.value)):
            try:
                value = json.loads(text)
                if self._rule(*_parts(name)).holds(value):
                    found[name] = value
            except (KeyError, ValueError):
                continue  # of another release, or what the file has come to forbid: the file holds
        return found


def merged(config: Config, values: Mapping[str, Any]) -> Config:
    """Return the settings with some replaced: `values` are by "section.key"."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    changed = {section: replace(getattr(config, section), **keys) for section, keys in sections.items()}
    return replace(config, **changed)


def _parts(name: str) -> tuple[str, str]:
    section, _, key = name.partition(".")
    if (section, key) not in KEYS:
        raise KeyError(name)
    return section, key


def _parsed(text: str, rule: Rule) -> Any:
    value: Any = text.replace("\r\n", "\n").strip()
    if rule.kind is int:
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= 12 else None
    if not rule.holds(value):
        raise BadSetting(rule.allowed)
    return value
