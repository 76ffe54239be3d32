"""The account page and what comes before it: one-time passwords, logins that end, and keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from web_app import LoggedIn, WebApp, post, web_app
from web_process import PASSWORD, choose_password, csrf_of, log_in_form

from service.web import accounts, presenting, sessions
from service.web.models import ApiKey, Login

NEW = "a password of my own"
SECRET = re.compile(r"ferry-[A-Za-z0-9_-]{43}")


@pytest.fixture
def web(tmp_path: Path):
    with web_app(tmp_path) as made:
        made.add_user("alice")
        made.add_user("root", "administrator", must_change=True)
        yield made


def first_login(web: WebApp) -> LoggedIn:
    client = web.app.test_client()
    assert log_in_form(client, "root", PASSWORD).status_code == 302
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/account/password").text)
    assert token
    return LoggedIn(client, token[1])


def key_id(web: WebApp) -> int:
    with web.database.begin() as session:
        (key,) = session.query(ApiKey).all()
        return key.id


def test_a_one_time_password_opens_nothing_but_the_choice_of_another(web: WebApp) -> None:
    root = first_login(web)
    for path in ("/", "/account", "/c/none"):
        assert root.client.get(path).location == "/account/password"
    refused = root.request("GET", "/api/conversations")
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "password_change_required")
    assert post(root, "/account/keys", name="script").status_code == 403
    assert choose_password(root.client, NEW).location == "/"
    assert root.request("GET", "/api/conversations").status_code == 200
    assert log_in_form(web.app.test_client(), "root", PASSWORD).status_code == 401
    assert log_in_form(web.app.test_client(), "root", NEW).status_code == 302


@pytest.mark.parametrize(
    ("new", "repeat"),
    [
        (NEW, NEW + "x"),
        ("short", "short"),
        (PASSWORD, PASSWORD),
        ("a" * 10, "a" * 10),
        ("12345678", "12345678"),
        ("QWERTYUI", "QWERTYUI"),
        ("987654321", "987654321"),
        (NEW * 99, NEW * 99),
    ],
)
def test_a_password_that_is_no_good_is_refused_and_the_old_one_stays(web: WebApp, new: str, repeat: str) -> None:
    root = first_login(web)
    assert post(root, "/account/password", password=new, repeat=repeat).status_code == 400
    assert root.client.get("/").location == "/account/password"


def test_changing_a_password_needs_the_old_one_and_ends_the_other_logins(web: WebApp) -> None:
    here, there = web.login("alice"), web.login("alice")
    assert post(here, "/account/password", current="wrong", password=NEW, repeat=NEW).status_code == 400
    stolen = here.client.get_cookie("ferry_session")
    assert stolen
    changed = post(here, "/account/password", current=PASSWORD, password=NEW, repeat=NEW)
    assert changed.location == "/account?done=password"
    assert here.request("GET", "/api/conversations").status_code == 200
    assert there.request("GET", "/api/conversations").status_code == 401
    thief = web.app.test_client()
    thief.set_cookie("ferry_session", stolen.value)
    assert thief.get("/api/conversations").status_code == 401, "a new password means a new cookie"


def test_guessing_the_current_password_is_slowed_down_like_a_login(web: WebApp) -> None:
    alice = web.login("alice")
    form = {"current": "wrong", "password": NEW, "repeat": NEW}
    statuses = [post(alice, "/account/password", **form).status_code for _ in range(6)]
    assert statuses == [400] * 5 + [429]


def test_logins_are_listed_and_ended_one_by_one_and_all_but_this_one(web: WebApp) -> None:
    alice, second, third = (web.login("alice") for _ in range(3))
    handles = re.findall(r'action="/account/sessions/([0-9a-f]{16})/end"', alice.client.get("/account").text)
    assert len(handles) == 2, "this browser's own login has no button"
    assert post(alice, f"/account/sessions/{handles[0]}/end").status_code == 302
    working = [browser.request("GET", "/api/conversations").status_code for browser in (alice, second, third)]
    assert sorted(working) == [200, 200, 401] and working[0] == 200
    assert post(alice, "/account/sessions/end-others").status_code == 302
    working = [browser.request("GET", "/api/conversations").status_code for browser in (alice, second, third)]
    assert working == [200, 401, 401]


def test_nobody_ends_anothers_login_or_revokes_anothers_key(web: WebApp) -> None:
    web.add_user("bob")
    alice, bob = web.login("alice"), web.login("bob")
    post(alice, "/account/keys", name="script")
    with web.database.begin() as session:
        handle = sessions.handle(session.query(Login).filter_by(user_id=1).one())
    for path in (f"/account/sessions/{handle}/end", f"/account/keys/{key_id(web)}/revoke"):
        assert post(bob, path).status_code == 404
    assert alice.request("GET", "/api/conversations").status_code == 200
    assert "script" in alice.client.get("/account").text


def test_a_key_is_shown_once_works_says_when_it_was_used_and_is_revoked(web: WebApp) -> None:
    alice = web.login("alice")
    made = post(alice, "/account/keys", name="script", tokens_per_day="5000").text
    (secret,) = set(SECRET.findall(made))
    page = alice.client.get("/account").text
    assert not SECRET.search(page) and secret[:10] in page and "5,000" in page
    headers = {"Authorization": f"Bearer {secret}"}
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 200
    with web.database.begin() as session:
        assert session.query(ApiKey).one().last_used_at
    assert post(alice, f"/account/keys/{key_id(web)}/revoke").location == "/account?done=key"
    assert web.app.test_client().get("/v1/models", headers=headers).status_code == 401
    assert post(alice, f"/account/keys/{key_id(web)}/revoke").status_code == 404


@pytest.mark.parametrize(
    ("name", "limit"), [("", ""), ("x" * 65, ""), ("a\tb", ""), ("k", "-1"), ("k", "many"), ("k", "3000000000")]
)
def test_a_key_that_cannot_be_made_is_told(web: WebApp, name: str, limit: str) -> None:
    answer = post(web.login("alice"), "/account/keys", name=name, tokens_per_day=limit)
    assert answer.status_code == 400 and 'class="notice bad"' in answer.text and not SECRET.search(answer.text)


def test_two_people_may_have_keys_of_the_same_name(web: WebApp) -> None:
    web.add_user("bob")
    assert SECRET.search(post(web.login("bob"), "/account/keys", name="script").text)
    alice = web.login("alice")
    assert SECRET.search(post(alice, "/account/keys", name="script").text)
    assert post(alice, "/account/keys", name="script").status_code == 400


def test_when_a_login_was_last_seen_is_written_once_a_minute(web: WebApp) -> None:
    web.login("alice")
    with web.database.begin() as session:
        login = session.query(Login).one()
        login.token_hash, login.last_seen_at = sessions.digest("token"), 1000.0
        login.expires_at = 5000.0
    for now, seen in ((1059.0, 1000.0), (1060.0, 1060.0), (1100.0, 1060.0)):
        with web.database.begin() as session:
            assert sessions.find(session, "token", now)
        with web.database.begin() as session:
            assert session.query(Login).one().last_seen_at == seen


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:78.0) Gecko/20100101 Firefox/78.0", "Firefox 78, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; x64) AppleWebKit/537.36 Chrome/79.0 Safari/537.36", "Chrome 79, Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", "Edge 120, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Version/17.0 Mobile/15E Safari/604", "Safari 17, iOS"),
        ("curl/8.0", "curl/8.0"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_told_by_name_and_system(agent: str, shown: str) -> None:
    assert presenting.browser(agent) == shown


def test_the_last_administrator_stays_one(web: WebApp) -> None:
    with web.database.begin() as session, pytest.raises(accounts.AdminError, match="only administrator"):
        accounts.set_role(session, accounts.get_user(session, "root"), "user")


def test_the_account_page_shows_nothing_of_a_name_as_markup(web: WebApp) -> None:
    web.add_user("<b>bob</b>")
    client = web.app.test_client()
    log_in_form(client, "<b>bob</b>", PASSWORD)
    browser = LoggedIn(client, csrf_of(client.get("/account").text))
    page = post(browser, "/account/keys", name="<i>key</i>").text
    assert "<b>bob" not in page and "<i>key" not in page and "&lt;i&gt;key" in page
