"""Who may do what: every route of the app, found in its URL map."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from web_app import WebApp, web_app
from web_process import PASSWORD, log_in_form

from service.web import accounts, guard, keys, rights, sessions

OPEN_TO_EVERYBODY = {"static", "pages.login", "health.healthz", "health.readyz", "health.metrics"}


@pytest.fixture
def web(tmp_path: Path, database_kind: str):
    with web_app(tmp_path, database=database_kind) as made:
        made.add_user("alice")
        made.add_user("bob")
        yield made


def routes(web: WebApp, conversation_id: str = "none"):
    """Yield (endpoint, path, method) of everything that the app answers."""
    for rule in web.app.url_map.iter_rules():
        path = re.sub(
            r"<(?:\w+:)?(\w+)>", lambda name: {"filename": "js/main.js"}.get(name[1], conversation_id), rule.rule
        )
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, path, method


def test_every_route_refuses_who_is_not_logged_in_and_has_no_key(web: WebApp) -> None:
    client = web.app.test_client()
    refused = 0
    for endpoint, path, method in routes(web):
        if endpoint in OPEN_TO_EVERYBODY:
            continue
        answer = client.open(path, method=method, json={})
        is_refused = answer.status_code == 401 or (answer.status_code == 302 and answer.location == "/login")
        assert is_refused, f"{method} {path}: {answer.status}"
        refused += 1
    assert refused >= 11


def test_only_the_endpoints_known_here_are_open(web: WebApp) -> None:
    declared = {endpoint: rights.right_of(web.app, endpoint) for endpoint, _, _ in routes(web)}
    assert {endpoint for endpoint, right in declared.items() if right == rights.OPEN} == OPEN_TO_EVERYBODY
    assert [endpoint for endpoint, right in declared.items() if right not in {*rights.ROLES_OF, rights.OPEN}] == []


def test_a_route_that_declares_nothing_is_refused_to_everybody(web: WebApp) -> None:
    web.app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    assert web.app.test_client().get("/forgotten").location == "/login"
    answer = web.login("alice").request("GET", "/forgotten")
    assert answer.status_code == 403 and "secret" not in answer.text


@pytest.mark.parametrize("role", ["user", "administrator", "auditor"])
def test_each_role_is_refused_every_route_that_is_not_for_it(web: WebApp, role: str) -> None:
    web.add_user("carol", role)
    carol, checked = web.login("carol"), 0
    for endpoint, path, method in routes(web):
        right = rights.right_of(web.app, endpoint)
        if right in (rights.OPEN, rights.API) or rights.allows(right, role) or endpoint == "pages.chat":
            continue
        assert carol.request(method, path, json={}).status_code == 403, f"{method} {path}"
        checked += 1
    assert checked >= {"user": 0, "administrator": 0, "auditor": 5}[role]


def test_an_auditor_does_not_chat_and_their_keys_do_not_either(web: WebApp) -> None:
    web.add_user("carol", "auditor")
    assert web.login("carol").request("GET", "/").status_code == 302
    headers = {"Authorization": f"Bearer {web.add_key('carols', 'carol')}"}
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 403


def test_the_api_is_in_the_menu_of_whoever_may_use_it_and_its_page_for_everybody(web: WebApp) -> None:
    for name, role in (("carol", "auditor"), ("root", "administrator")):
        web.add_user(name, role)
    for name, is_shown in (("alice", True), ("root", True), ("carol", False)):
        page = web.login(name).request("GET", "/api/docs")
        assert page.status_code == 200 and ('<a href="/api/docs"' in page.text) == is_shown, name


def test_metrics_are_for_this_machine_and_for_keys(web: WebApp) -> None:
    client = web.app.test_client()
    elsewhere = {"REMOTE_ADDR": "10.1.2.3"}
    key = web.add_key("prometheus")
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_base=elsewhere).status_code == 401
    assert client.get("/metrics", headers={"X-Forwarded-For": "10.1.2.3"}).status_code == 401
    headers = {"Authorization": f"Bearer {key}"}
    assert b"ferry_web_engine_ready 1" in client.get("/metrics", environ_base=elsewhere, headers=headers).data


def test_a_cookie_opens_no_v1_route_and_a_key_opens_no_api_route(web: WebApp) -> None:
    alice, key = web.login("alice"), web.add_key("script")
    assert alice.request("GET", "/v1/models").status_code == 401
    headers = {"Authorization": f"Bearer {key}"}
    assert web.app.test_client().get("/api/conversations", headers=headers).status_code == 401
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 200


def test_everything_that_changes_something_by_cookie_needs_the_csrf_token(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation()
    checked = 0
    for endpoint, path, method in routes(web, conversation_id):
        if method == "GET" or endpoint.startswith("openai."):
            continue
        answer = alice.request(method, path, csrf=False, json={"content": "hello"})
        assert answer.status_code == 403, f"{method} {path}: {answer.status}"
        checked += 1
    assert checked >= 5
    assert len(alice.request("GET", "/api/conversations").json["conversations"]) == 1


def test_two_accounts_never_see_each_others_conversations(web: WebApp) -> None:
    alice, bob = web.login("alice"), web.login("bob")
    secret = alice.new_conversation("echo alice's secret")
    checked = 0
    for endpoint, path, method in routes(web, secret):
        if not endpoint.startswith("api."):
            continue
        answer = bob.request(method, path, json={"content": "hello"})
        assert "secret" not in answer.text
        if secret in path:
            assert answer.status_code == 404, f"{method} {path}: {answer.status}"
            nothing = bob.request(method, path.replace(secret, "nothing"), json={"content": "hello"})
            assert (nothing.status_code, nothing.json) == (404, answer.json)
            checked += 1
    assert checked >= 3
    assert "secret" in alice.request("GET", f"/api/conversations/{secret}").text
    assert bob.request("GET", f"/c/{secret}").location == "/"


def test_the_engine_counts_each_account_by_itself(web: WebApp) -> None:
    web.login("alice").new_conversation()
    web.login("bob").new_conversation()
    assert len(set(web.engine.users)) == 2


def test_a_login_that_fails_says_the_same_whatever_the_reason(web: WebApp) -> None:
    with web.database.begin() as session:
        accounts.set_enabled(session, accounts.get_user(session, "bob"), False)
    attempts = [("alice", "wrong"), ("nobody", PASSWORD), ("bob", PASSWORD), ("alice", "x" * 5000), ("a" * 500, "x")]
    pages = []
    for name, password in attempts:
        answer = log_in_form(web.app.test_client(), name, password)
        assert answer.status_code == 401
        pages.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert len(set(pages)) == 1


def test_a_login_form_from_another_site_is_refused(web: WebApp) -> None:
    client = web.app.test_client()
    form = {"username": "alice", "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 403
    assert client.post("/login", data={**form, "csrf_token": ""}).status_code == 403
    client.get("/login")
    assert client.post("/login", data={**form, "csrf_token": "guess"}).status_code == 403


@pytest.mark.parametrize(
    ("left", "leads_to"),
    [
        ("/c/4f_1c-0", "/c/4f_1c-0"),
        ("/", "/"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/c//evil.example", "/"),
        ("https://evil.example/c/1", "/"),
        ("/c/1\\@evil.example", "/"),
        ("/logout", "/"),
    ],
)
def test_a_login_leads_back_to_a_conversation_and_nowhere_else(web: WebApp, left: str, leads_to: str) -> None:
    client = web.app.test_client()
    client.set_cookie("ferry_left", left)
    assert 'role="status"' in client.get("/login").text
    assert log_in_form(client, "alice", PASSWORD).location == leads_to
    assert client.get_cookie("ferry_left") is None


def test_a_session_ends_at_logout_on_the_server_too(web: WebApp) -> None:
    alice = web.login("alice")
    cookie = alice.client.get_cookie(guard.SESSION_COOKIE)
    assert cookie and cookie.http_only and cookie.same_site == "Lax"
    assert alice.client.post("/logout", data={"csrf_token": alice.csrf_token}).location == "/login"
    thief = web.app.test_client()
    thief.set_cookie(guard.SESSION_COOKIE, cookie.value)
    assert thief.get("/api/conversations").status_code == 401


def test_a_session_ends_when_it_is_old_when_the_password_changes_and_when_the_account_is_disabled(web: WebApp) -> None:
    with web.database.begin() as session:
        token = sessions.start(session, accounts.get_user(session, "bob"), -1)
        session.flush()
        assert sessions.find(session, token) is None
    first, second = web.login("alice"), web.login("bob")
    with web.database.begin() as session:
        accounts.set_password(session, accounts.get_user(session, "alice"), "another password")
        accounts.set_enabled(session, accounts.get_user(session, "bob"), False)
    assert first.request("GET", "/api/conversations").status_code == 401
    assert second.request("GET", "/api/conversations").status_code == 401


def test_a_key_ends_when_it_is_revoked_and_when_its_account_is_disabled(web: WebApp) -> None:
    def status(key: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        return web.app.test_client().get("/v1/models", headers=headers).status_code

    free, owned = web.add_key("free"), web.add_key("owned", "alice")
    assert (status(free), status(owned), status("ferry-guess")) == (200, 200, 401)
    with web.database.begin() as session:
        keys.revoke_key(session, "free")
        accounts.set_enabled(session, accounts.get_user(session, "alice"), False)
    assert (status(free), status(owned)) == (401, 401)


def test_nothing_secret_is_stored_as_it_is(web: WebApp) -> None:
    alice, key = web.login("alice"), web.add_key("script")
    cookie = alice.client.get_cookie(guard.SESSION_COOKIE)
    assert cookie
    stored = web.stored()
    for secret in (PASSWORD, key, cookie.value):
        assert secret.encode() not in stored


def test_a_deleted_conversation_is_gone_from_the_file(web: WebApp) -> None:
    alice = web.login("alice")
    conversation_id = alice.new_conversation("echo unmistakable words")
    assert alice.request("DELETE", f"/api/conversations/{conversation_id}").status_code == 204
    assert b"unmistakable" not in web.stored()
    assert alice.request("GET", "/api/conversations").json == {"conversations": []}


def test_every_answer_carries_the_headers_that_keep_a_browser_quiet(web: WebApp) -> None:
    alice = web.login("alice")
    for path in ("/", "/login", "/nothing", "/api/conversations", "/api/nothing", "/healthz", "/static/js/main.js"):
        headers = alice.request("GET", path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
