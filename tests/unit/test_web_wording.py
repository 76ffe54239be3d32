"""What the pages tell people of their tokens and keys, of what is recorded, and of what a form has done."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from web_app import LoggedIn, WebApp, post, web_app

from service.web import accounts, rights, usage
from service.web.models import ApiKey


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("wording"), "[audit]\nretain_days = 30\n") as made:
        made.add_user("root", "administrator")
        yield made


@pytest.fixture(scope="module")
def root(web: WebApp) -> LoggedIn:
    return web.login("root")


def spend(web: WebApp, name: str, tokens: int, limit: int | None = None) -> str:
    """Return the account page of somebody who used so many tokens today."""
    web.add_user(name)
    with web.database.begin() as session:
        user = accounts.get_user(session, name)
        user.tokens_per_day = limit
        usage.add(session, usage.user_subject(user.id), usage.day_of(time.time()), tokens)
    return web.login(name).client.get("/account").text


@pytest.mark.parametrize(
    ("tokens", "percent", "warning"),
    [(1279, 79, ""), (1280, 80, "Only 320 tokens are left"), (1539, 96, "Only 61 tokens"), (1700, 106, "are used up")],
)
def test_who_has_a_quota_sees_how_much_of_it_is_used_and_whom_to_ask(
    web: WebApp, tokens: int, percent: int, warning: str
) -> None:
    page = spend(web, f"spent {tokens}", tokens, 1600)
    assert f"{tokens:,} of 1,600 tokens ({percent} %)" in page
    assert re.search(rf'<progress class="share[^>]* max="1600" value="{min(tokens, 1600)}" aria-labelledby', page)
    assert 'class="notice warn"' in page if warning else 'class="notice' not in page
    assert warning in page
    assert "00:00 UTC, midnight in world time" in page and "ask the administrator" in page


def test_who_has_no_quota_sees_what_was_used_and_nothing_of_limits(web: WebApp) -> None:
    # When somebody was last seen may be midnight too.
    page = re.sub("<time.*?</time>", "", spend(web, "free", 1539))
    assert "Tokens: 1,539, requests: 1" in page and "<progress" not in page and "00:00" not in page


def test_the_owner_of_a_key_sees_what_it_used_today(web: WebApp, root: LoggedIn) -> None:
    post(root, "/account/keys", name="script", tokens_per_day="9000")
    with web.database.begin() as session:
        key = session.scalars(select(ApiKey).where(ApiKey.name.contains("script"))).one()
        usage.add(session, usage.key_subject(key.id), usage.day_of(time.time()) - 1, 7000)
        usage.add(session, usage.key_subject(key.id), usage.day_of(time.time()), 1234)
    cells = re.findall(r'class="number">([0-9,–]+)</td>', root.client.get("/account").text)
    assert cells == ["1,234", "9,000"]


@pytest.mark.parametrize(
    ("settings", "told", "kept"),
    [
        ("", "answers is not in it", "about 180 days"),
        ('content = "digest"', "only fingerprints", "about 180 days"),
        ('content = "full"\nretain_days = 0', "word by word", "kept for ever"),
    ],
)
def test_the_account_page_tells_what_the_log_holds_and_who_reads_it(
    tmp_path: Path, settings: str, told: str, kept: str
) -> None:
    with web_app(tmp_path, f"[audit]\n{settings}\n") as web:
        web.add_user("alice")
        page = web.login("alice").client.get("/account").text
    assert told in page and kept in page
    assert set(rights.ROLES_OF[rights.AUDIT]) == {"administrator", "auditor"}, "the page names them"
    assert "Administrators and auditors of this server can read" in page
    assert "could read them in its database" in page and "Backups made before keep it" in page


def test_without_a_log_the_account_page_tells_of_the_conversations_alone(tmp_path: Path) -> None:
    with web_app(tmp_path, "[audit]\nenabled = false\n") as web:
        web.add_user("alice")
        page = web.login("alice").client.get("/account").text
    assert "not recorded" in page and "audit log" not in page and "Your conversations are stored" in page


def test_a_guest_is_not_told_that_nobody_else_sees_the_conversations(tmp_path: Path) -> None:
    with web_app(tmp_path, 'auth = "none"\n') as web:
        page = web.app.test_client().get("/account").text
    assert "everybody sees the same ones" in page and "to your account alone" not in page


def test_the_line_below_the_question_leads_to_what_is_recorded(root: LoggedIn) -> None:
    (address,) = re.findall(r'id="recorded"><a href="([^"]+)">The audit log', root.client.get("/").text)
    path, _, anchor = address.partition("#")
    assert f'id="{anchor}"' in root.client.get(path).text


def test_a_setting_is_named_when_it_was_changed_and_when_it_was_taken_back(root: LoggedIn) -> None:
    for fields, words in (
        ({"value": "5"}, "“Questions the model remembers” is changed."),
        ({"reset": "1"}, "ferry.toml"),
    ):
        page = root.client.get(post(root, "/admin/settings/history.turns", **fields).location).text
        (notice,) = re.findall(r'role="status">([^<]+)<', page)
        assert "Questions the model remembers" in notice and words in notice


def test_a_value_that_cannot_be_is_refused_with_what_could_be(root: LoggedIn) -> None:
    page = post(root, "/admin/settings/web.session_hours", value="0").text
    (alert,) = re.findall(r'role="alert">([^<]+)<', page)
    assert "from 1 to 8,760" in alert


@pytest.mark.parametrize(("owner", "words"), [("", "It belongs to no user"), ("root", "in the name of root")])
def test_whoever_gets_a_key_is_told_in_whose_name_it_asks(root: LoggedIn, owner: str, words: str) -> None:
    page = post(root, "/admin/keys", name=f"for {owner or 'nobody'}", owner=owner).text
    assert words in page and "owner's name" not in page


def test_beside_every_quota_stands_what_empty_and_zero_mean(web: WebApp, root: LoggedIn) -> None:
    web.add_key("without an owner")
    for path in ("users/1", "keys", "keys/1"):
        page = root.client.get(f"/admin/{path}").text
        (note,) = re.findall(r'id="quota-note">([^<]+)<', page)
        assert "Left empty" in note and re.search(r"\b0\b", note), path
