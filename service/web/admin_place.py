"""What the administrator's commands share: where the service's settings and data are, and how results are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

import click
from sqlalchemy.orm import Session

from service import config as configuration
from service.config import Config
from service.paths import Paths
from service.web import revisions
from service.web.audit import Audit
from service.web.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Place:
    """Where the service's settings and data are, read once for a command."""

    paths: Paths = field(default_factory=Paths.from_environment)
    config: Config = field(init=False)

    def __post_init__(self) -> None:
        self.config = configuration.load(self.paths.config)
        self.audit = Audit(self.paths.log, self.paths.data, self.config.audit)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a transaction on an up-to-date database: the first account is made before the web's first start."""
        store = Database.of(self.config.data, self.paths.data)
        try:
            revisions.migrate(store, self.paths.data)
            with store.begin() as session:
                yield session
        finally:
            store.close()

    def record(self, event: str, **facts: object) -> None:
        self.audit.write(event, user=self.operator, address="local", **facts)

    @property
    def operator(self) -> str:
        """Who runs the command: the account that became root by sudo, where the installer tells of one."""
        return f"administrator ({os.environ.get('FERRY_OPERATOR') or f'uid {os.getuid()}'})"


def json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def show(as_json: bool, value: dict[str, Any], words: str) -> None:
    click.echo(json.dumps(value, ensure_ascii=False) if as_json else words)


def when(seconds: float | None) -> str | None:
    """Return a time as ISO 8601."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
