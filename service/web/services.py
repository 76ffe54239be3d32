"""What the request handlers work with, made once for each app by service.web.app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import current_app, g

from service.config import Config
from service.paths import Paths
from service.web.accounts import Caller
from service.web.aside import Aside
from service.web.audit import Audit
from service.web.chat import Chat
from service.web.database import Database
from service.web.directory import Directory
from service.web.engine_client import EngineClient
from service.web.live_settings import LiveSettings
from service.web.metrics import Metrics
from service.web.rates import Rates
from service.web.usage import Usage

KEY = "ferry"


@dataclass(frozen=True)
class Services:
    paths: Paths
    settings: LiveSettings
    database: Database
    engine: EngineClient
    audit: Audit
    chat: Chat
    metrics: Metrics
    usage: Usage
    aside: Aside
    directory: Directory | None
    rates: Rates

    @property
    def config(self) -> Config:
        """The settings that hold now: those of ferry.toml, and before them those of the administration page."""
        return self.settings.current()


def services() -> Services:
    """Return the current app's services."""
    return cast(Services, current_app.extensions[KEY])


def caller() -> Caller:
    """Return who sent this request; service.web.guard has made sure that there is somebody."""
    return cast(Caller, g.caller)


def user_id() -> int:
    """Return the account that sent this request: on pages and under /api there is always one."""
    number = caller().user_id
    assert number is not None
    return number
