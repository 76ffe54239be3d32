"""What belongs to somebody else is not there: each number of somebody else's, in every place that takes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_app import LoggedIn, WebApp, web_app
from werkzeug.routing import Rule

from service.web import rights

SECRET = "alices-secret"
# The numbers that belong to somebody, by their names in an address. Those of the administration pages are everybody's.
OWNED = {"conversation_id", "message_id", "handle", "key_id"}


@pytest.fixture
def web(tmp_path: Path, database_kind: str) -> Iterator[WebApp]:
    with web_app(tmp_path, database=database_kind) as made:
        made.add_user("alice")
        made.add_user("bob")
        yield made


def own_routes(web: WebApp) -> Iterator[tuple[Rule, str]]:
    """Yield each route with somebody's number in it, and method."""
    for rule in web.app.url_map.iter_rules():
        is_own = rule.arguments & OWNED and rights.right_of(web.app, rule.endpoint) != rights.ADMINISTER
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}) if is_own else ():
            yield rule, method


def numbers_of(browser: LoggedIn) -> dict[str, str]:
    """Return one of each of somebody's numbers, as their own pages show them."""
    conversation = browser.new_conversation(f"echo {SECRET}")
    messages = browser.request("GET", f"/api/conversations/{conversation}").json["messages"]
    browser.request("POST", "/account/keys", data={"name": f"key of {conversation}", "csrf_token": browser.csrf_token})
    page = browser.request("GET", "/account").text
    found = {"conversation_id": conversation, "message_id": str(messages[-1]["id"])}
    for name, place in {"handle": "sessions", "key_id": "keys"}.items():
        (found[name],) = set(re.findall(rf"/account/{place}/(\w+)/(?:end|revoke)", page)) or {"none"}
    return found


def path_of(rule: Rule, numbers: dict[str, str]) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: numbers[found[1]], rule.rule)


def test_every_number_of_somebody_else_is_answered_like_none_at_all(web: WebApp) -> None:
    alice, bob = web.login("alice"), web.login("bob")
    hers, his = numbers_of(alice), numbers_of(bob)
    none = {"conversation_id": "nothing", "message_id": "987654", "handle": "nothing", "key_id": "987654"}
    before, checked = web_of(alice, hers), 0
    for rule, method in own_routes(web):
        for name in rule.arguments & OWNED:
            answers = []
            for theirs in (hers, none):
                path = path_of(rule, {**his, name: theirs[name]})
                answers.append(bob.request(method, path, json={"content": "hello", "title": "taken"}))
            assert answers[0].status_code in {404, 302}, f"{method} {rule.rule} {name}: {answers[0].status}"
            assert answers[0].status_code == answers[1].status_code and SECRET not in answers[0].text
            checked += 1
    assert checked >= 14
    assert web_of(alice, hers) == before, "nothing of hers has changed"


def web_of(browser: LoggedIn, numbers: dict[str, str]) -> tuple[object, str]:
    read = browser.request("GET", f"/api/conversations/{numbers['conversation_id']}").json
    return read, re.sub(r'value="[^"]*"', "", browser.request("GET", "/account").text)


@pytest.mark.parametrize("name", ["parent_id", "leaf_id"])
def test_a_conversation_does_not_grow_from_anothers_messages(web: WebApp, name: str) -> None:
    alice, bob = web.login("alice"), web.login("bob")
    message_id = int(numbers_of(alice)["message_id"])
    path = f"/api/conversations/{bob.new_conversation()}"
    if name == "parent_id":
        answer = bob.request("POST", f"{path}/messages", json={"content": "echo mine", "parent_id": message_id})
    else:
        answer = bob.request("PATCH", path, json={"leaf_id": message_id})
    assert answer.status_code == 404 and SECRET not in answer.text
    assert all(SECRET not in str(request) for request in web.engine.requests[1:])


def test_a_search_and_an_export_find_what_is_ones_own(web: WebApp) -> None:
    alice, bob = web.login("alice"), web.login("bob")
    conversation = numbers_of(alice)["conversation_id"]
    assert len(alice.request("GET", f"/api/conversations?q={SECRET}").json["conversations"]) == 1
    assert bob.request("GET", f"/api/conversations?q={SECRET}").json == {"conversations": []}
    for form in ("markdown", "json"):
        assert SECRET in alice.request("GET", f"/api/conversations/{conversation}/export?format={form}").text
        assert bob.request("GET", f"/api/conversations/{conversation}/export?format={form}").status_code == 404
