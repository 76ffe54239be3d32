"""What the overview warns of: passwords in clear, a certificate, full disks, an audit log that is off or broken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from web_app import LoggedIn, WebApp, web_app

from service.config import Audit, Config, Web
from service.web import audit_state, condition, language
from service.web.condition import Disk


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("condition")) as made:
        made.add_user("root", "administrator")
        yield made


@pytest.fixture(scope="module")
def root(web: WebApp) -> LoggedIn:
    return web.login("root")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({}, ""),
        ({"web": Web(listen="0.0.0.0:80")}, "plain_http"),
        ({"web": Web(tls_certificate="/nowhere.pem", tls_key="/nowhere.key")}, "certificate"),
        ({"audit": Audit(enabled=False)}, "audit_off"),
    ],
)
def test_what_is_wrong_is_warned_of(web: WebApp, root: LoggedIn, change: dict, warning: str) -> None:
    config = replace(Config(web=Web(listen="127.0.0.1:80")), **change)
    found = condition.look(web.paths, config, web.database, is_secure=False)
    assert found.warnings == ((warning,) if warning else ())
    assert f"admin_warn_{warning}" in language.strings("en") or not warning


def test_a_disk_that_is_almost_full_is_warned_of() -> None:
    assert [Disk(Path("/"), free, 1 << 40).is_low for free in (1 << 29, 1 << 31)] == [True, False]
    assert not Disk(Path("/"), 1 << 29, 1 << 30).is_low  # a small disk that is half empty


def test_a_log_that_was_found_broken_is_warned_of(web: WebApp, root: LoggedIn) -> None:
    assert "not to be whole" not in root.client.get("/admin").text
    state = {"at": "2026-01-01T00:00:00+00:00", "is_ok": False, "lines": 1234, "head": "", "problems": ["a:1: changed"]}
    (web.paths.data / audit_state.NAME).write_text(json.dumps(state))
    page = root.client.get("/admin").text
    assert "not to be whole" in page and "1,234 lines" in page
    (web.paths.data / audit_state.NAME).unlink()


def test_the_overview_says_that_all_is_well_only_when_it_is(web: WebApp, root: LoggedIn, monkeypatch) -> None:
    monkeypatch.setattr(condition, "_warnings", lambda *_: [])
    assert "All is well" in root.client.get("/admin").text
    web.engine.health = (503, {"status": "loading"})
    try:
        page = root.client.get("/admin").text
        assert "All is well" not in page and "cannot answer now" in page
    finally:
        web.engine.health = (200, {"status": "ok", "model": "m"})
    monkeypatch.setattr(condition, "_warnings", lambda *_: ["disk"])
    assert "All is well" not in root.client.get("/admin").text
