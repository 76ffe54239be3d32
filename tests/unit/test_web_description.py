"""The API's description: everything that the app answers stands in it, and nothing else; and its page shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from web_app import WebApp, web_app

from service.web import description, description_page, rights

# Pages and their forms are for people; what a program may rely on is the rest.
DESCRIBED = ("/v1/", "/api/", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web"), database="sqlite") as made:
        made.add_user("alice")
        yield made


def described() -> dict[tuple[str, str], dict]:
    return {(method.upper(), address): each for address, method, each in description.operations(description.whole())}


def test_every_route_and_method_is_described_and_nothing_else(web: WebApp) -> None:
    answered = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)): rule.endpoint
        for rule in web.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(DESCRIBED)
    }
    assert {key: each["operationId"] for key, each in described().items()} == answered


def test_what_a_route_asks_of_its_caller_is_what_is_described(web: WebApp) -> None:
    """A route declares its right where it stands; the description says by what it is shown."""
    for (method, address), each in described().items():
        right = rights.right_of(web.app, each["operationId"])
        by_cookie = [{"login": []} if method == "GET" else {"login": [], "token": []}]
        wanted = [{"key": []}] if right == rights.API else by_cookie
        is_open = each["security"] == [] or {} in each["security"]
        assert is_open if right == rights.OPEN else each["security"] == wanted, f"{method} {address}: {right}"


def test_every_path_parameter_is_described() -> None:
    for (method, address), each in described().items():
        shared = description.whole()["paths"][address].get("parameters", [])
        names = {one.get("name") or one["$ref"].rpartition("/")[2] for one in (*shared, *each.get("parameters", ()))}
        assert names >= set(re.findall(r"{(\w+)}", address)), f"{method} {address}"


def test_every_reference_leads_somewhere_and_everything_is_referred_to() -> None:
    known = {
        f"#/components/{kind}/{name}"
        for kind, parts in description.whole()["components"].items()
        for name in parts
        if kind != "securitySchemes"
    }
    assert set(re.findall(r"'\$ref': '([^']+)'", repr(description.whole()))) == known


def test_the_page_shows_every_operation_and_object_without_a_script(web: WebApp) -> None:
    alice = web.login("alice")
    page = alice.request("GET", "/api/docs").text
    assert "<script" not in page and "style=" not in page
    for (method, address), each in described().items():
        assert f">{method}</span> <code>{address}</code>" in page and each["summary"] in page
    for name in set(re.findall(r'<a href="#(\w+)"', page)):
        assert page.count(f'id="{name}"') == 1, name
    assert "-H &#34;X-CSRF-Token: $TOKEN&#34;" in page
    assert ">对象<" in alice.client.get("/api/docs?lang=zh", follow_redirects=True).text


def test_strangers_are_shown_neither_and_programs_need_their_key(web: WebApp) -> None:
    stranger, key = web.app.test_client(), {"Authorization": f"Bearer {web.add_key('reader')}"}
    for path in ("/api/openapi.json", "/v1/openapi.json", "/api/docs"):
        assert stranger.get(path).status_code == 401
    assert (
        stranger.get("/v1/openapi.json", headers=key).json
        == web.login("alice").request("GET", "/api/openapi.json").json
    )


def test_each_value_of_a_list_of_words_is_told_once() -> None:
    schema = {"properties": {"role": {"enum": ["system", "user"], "description": "who"}}}
    assert [(field.name, field.kind) for field in description_page.fields(schema)] == [("role", "system | user")]
