"""Who somebody is where Ferry asks for no password: a proxy's word, a guest; and whose word is taken for an address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import request
from web_app import WebApp, web_app
from web_process import PASSWORD, csrf_of, log_in_form

from service.web import accounts
from service.web.models import User

PROXY = 'auth = "proxy"\nproxy_header = "X-Remote-User"\ntrusted_proxies = ["10.0.0.1", "10.9.0.0/16"]\n'
AT_PROXY = {"REMOTE_ADDR": "10.0.0.1"}


@contextmanager
def running(folder: Path, settings: str) -> Iterator[WebApp]:
    with web_app(folder, settings) as made:
        made.app.add_url_rule("/healthz/where", "health.where", lambda: f"{request.remote_addr} {request.scheme}")
        yield made


@pytest.fixture
def web(tmp_path: Path):
    with running(tmp_path, PROXY) as made:
        yield made


def named(web: WebApp, name: str, path: str = "/", peer: str = "10.0.0.1", method: str = "GET", **headers: str):
    client = web.app.test_client()
    sent = {"X-Remote-User": name, **headers}
    return client.open(path, method=method, environ_base={"REMOTE_ADDR": peer}, headers=sent)


def test_the_proxys_word_makes_an_account_at_first_sight_and_finds_it_again(web: WebApp) -> None:
    for _ in range(2):
        answer = named(web, "alice")
        assert answer.status_code == 200 and ">alice<" in answer.text
    with web.database.begin() as session:
        assert [(user.name, user.source, user.role) for user in session.query(User)] == [("alice", "proxy", "user")]


@pytest.mark.parametrize("peer", ["10.0.0.2", "127.0.0.1", "::1", "203.0.113.9"])
def test_the_header_is_nobodys_word_from_anywhere_else(web: WebApp, peer: str) -> None:
    for path in ("/", "/api/conversations", "/account", "/login"):
        answer = named(web, "alice", path, peer, **{"X-Forwarded-For": "10.0.0.1"})
        assert answer.status_code == 403 and "alice" not in answer.text.replace("X-Remote-User", "")
    with web.database.begin() as session:
        assert session.query(User).count() == 0


def test_who_is_not_named_is_nobody_and_there_is_no_form_to_try(web: WebApp) -> None:
    client = web.app.test_client()
    for peer in ("10.0.0.1", "203.0.113.9"):
        for path in ("/", "/login", "/api/conversations"):
            assert client.get(path, environ_base={"REMOTE_ADDR": peer}).status_code == 401
    web.add_user("alice")
    form = {"username": "alice", "password": PASSWORD}
    assert client.post("/login", data=form, environ_base=AT_PROXY).status_code == 401


@pytest.mark.parametrize("name", [" ", "x" * 65, b"a\x07b".decode("latin-1")])
def test_a_name_that_cannot_be_one_is_refused(web: WebApp, name: str) -> None:
    assert named(web, name).status_code in (401, 403)


def test_a_name_in_chinese_arrives_whole(web: WebApp) -> None:
    assert ">张三<" in named(web, "张三".encode().decode("latin-1")).text


def test_what_changes_something_needs_the_csrf_token_behind_a_proxy_too(web: WebApp) -> None:
    client = web.app.test_client()
    headers = {"X-Remote-User": "alice"}
    token = csrf_of(client.get("/", environ_base=AT_PROXY, headers=headers).text)

    def create(**more: str):
        return client.post("/api/conversations", environ_base=AT_PROXY, headers={**headers, **more})

    assert [create().status_code, create(**{"X-CSRF-Token": "guess"}).status_code] == [403, 403]
    assert create(**{"X-CSRF-Token": token}).status_code == 201
    stranger = web.app.test_client()
    sent = {**headers, "X-CSRF-Token": token}
    assert stranger.post("/api/conversations", environ_base=AT_PROXY, headers=sent).status_code == 403, "no cookie"


def test_a_disabled_account_and_another_role_hold_whatever_the_proxy_says(web: WebApp) -> None:
    web.add_user("carol", "auditor")
    web.add_user("dora")
    with web.database.begin() as session:
        accounts.set_enabled(session, accounts.get_user(session, "dora"), False)
    assert named(web, "dora", "/api/conversations").status_code == 403
    assert named(web, "carol", "/api/conversations").status_code == 403
    assert named(web, "carol", "/account").status_code == 200


def test_a_program_still_shows_its_key(web: WebApp) -> None:
    key = web.add_key("script")
    assert named(web, "alice", "/v1/models").status_code == 401
    assert named(web, "", "/v1/models", "203.0.113.9", Authorization=f"Bearer {key}").status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.9.8.7", "203.0.113.7"),
        ("10.0.0.1", "10.9.0.1, 10.9.8.7", "10.9.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7:5000", "203.0.113.7"),
        ("10.0.0.1", "[2001:db8::7]:5000", "2001:db8::7"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("203.0.113.9", "10.1.1.1", "203.0.113.9"),
        ("127.0.0.1", "10.1.1.1", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(
    web: WebApp, peer: str, forwarded: str, client: str
) -> None:
    answer = web.app.test_client().get(
        "/healthz/where", environ_base={"REMOTE_ADDR": peer}, headers={"X-Forwarded-For": forwarded}
    )
    assert answer.text == f"{client} http"


@pytest.mark.parametrize(
    ("peer", "proto", "is_secure"),
    [
        ("10.0.0.1", "https", True),
        ("127.0.0.1", "https", True),
        ("10.0.0.1", "http, https", True),
        ("10.0.0.1", "https, http", False),
        ("203.0.113.9", "https", False),
    ],
)
def test_cookies_are_for_tls_alone_where_a_proxy_has_it(tmp_path: Path, peer: str, proto: str, is_secure: bool) -> None:
    with running(tmp_path, 'trusted_proxies = ["10.0.0.1"]\n') as web:
        web.add_user("alice")
        client = web.app.test_client()
        client.environ_base |= {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": proto}
        token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)
        assert token
        client.set_cookie("ferry_form", token[1])
        form = {"username": "alice", "password": PASSWORD, "csrf_token": token[1]}
        cookie = client.post("/login", data=form).headers.getlist("Set-Cookie")[0]
        assert ("Secure" in cookie) == is_secure and "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_without_a_login_everybody_is_the_guest_and_every_page_says_so(tmp_path: Path) -> None:
    with running(tmp_path, 'auth = "none"\n') as web:
        one, other = web.app.test_client(), web.app.test_client()
        token = csrf_of(one.get("/").text)
        assert one.post("/api/conversations").status_code == 403
        assert one.post("/api/conversations", headers={"X-CSRF-Token": token}).status_code == 201
        for path in ("/", "/account", "/login", "/nothing"):
            assert "This server asks for no login" in other.get(path).text, path
        with web.database.begin() as session:
            assert [(user.name, user.role) for user in session.query(User)] == [("guest", "user")]
            session.query(User).one().role = "administrator"
        assert "/admin" not in other.get("/account").text, "the guest is everybody, and no administrator"


def test_where_there_is_a_guest_an_administrator_still_logs_in(tmp_path: Path) -> None:
    with running(tmp_path, 'auth = "none"\n') as web:
        web.add_user("root", "administrator")
        client = web.app.test_client()
        assert log_in_form(client, "root", PASSWORD).status_code == 302
        assert ">root<" in client.get("/account").text
