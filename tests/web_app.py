"""The Flask app in the test's own process, over a fresh database and a fake engine: for tests that need no server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fake_engine
from fake_engine import FakeEngine
from flask import Flask
from flask.testing import FlaskClient
from web_process import PASSWORD, csrf_of, log_in_form, make_environment

from service import config as configuration
from service.paths import Paths
from service.web import accounts, keys, revisions
from service.web.app import create_app
from service.web.database import Database
from service.web.engine_client import EngineClient
from service.web.models import Base


@dataclass
class WebApp:
    app: Flask
    paths: Paths
    database: Database
    engine: FakeEngine

    def add_user(self, name: str, role: str = "user", *, must_change: bool = False) -> None:
        with self.database.begin() as session:
            accounts.add_user(session, name, PASSWORD, role, must_change=must_change)

    def add_key(self, name: str, user: str = "") -> str:
        with self.database.begin() as session:
            return keys.add_key(session, name, accounts.get_user(session, user) if user else None)

    def stored(self) -> bytes:
        """Return everything that the database keeps, with what SQLite may have left in its files."""
        if self.database.is_sqlite:
            with self.database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return b"".join(path.read_bytes() for path in self.paths.data.iterdir() if path.is_file())
        with self.database.engine.connect() as connection:
            tables = [connection.execute(table.select()).all() for table in Base.metadata.sorted_tables]
        return repr(tables).encode()

    def login(self, name: str, password: str = PASSWORD) -> LoggedIn:
        client = self.app.test_client()
        assert log_in_form(client, name, password).status_code == 302
        return LoggedIn(client, csrf_of(client.get("/account").text))


@dataclass
class LoggedIn:
    """A browser that sends its cookie, and the CSRF token unless told not to."""

    client: FlaskClient
    csrf_token: str

    def request(self, method: str, path: str, *, csrf: bool = True, buffered: bool = True, **arguments: object):
        headers = {"X-CSRF-Token": self.csrf_token} if csrf else {}
        return self.client.open(path, method=method, headers=headers, buffered=buffered, **arguments)

    def new_conversation(self, question: str = "hello") -> str:
        conversation_id = self.request("POST", "/api/conversations").json["id"]
        assert self.request("POST", f"/api/conversations/{conversation_id}/messages", json={"content": question}).data
        return conversation_id


def post(browser: LoggedIn, path: str, **fields: str):
    """Send a form as the page does."""
    return browser.client.post(path, data={"csrf_token": browser.csrf_token, **fields})


@contextmanager
def web_app(folder: Path, settings: str = "", database: str = "") -> Iterator[WebApp]:
    paths = Paths.from_environment(make_environment(folder, settings, database=database))
    config = configuration.load(paths.config)
    store = Database.of(config.data, paths.data)
    revisions.migrate(store, paths.data)
    with fake_engine.running(paths.socket) as engine:
        client = EngineClient(config, paths.socket)
        yield WebApp(create_app(paths, config, client), paths, store, engine)
    store.close()
