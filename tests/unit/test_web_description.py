"""The API's description: everything that the app answers stands in it, and nothing else; and its page shows it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_app import WebApp, web_app

from service.web import description, description_page, language, rights

MANUAL = Path(__file__).resolve().parents[2] / "docs" / "api.md"

# Pages and their forms are for people; what a program may rely on is the rest.
DESCRIBED = ("/v1/", "/api/", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web"), database="sqlite") as made:
        made.add_user("alice")
        yield made


def described() -> dict[tuple[str, str], dict]:
    return {(method.upper(), address): each for address, method, each in description.operations(description.whole())}


def strings(part: Any) -> Iterator[str]:
    """Yield every value that is a text."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict | list):
        for each in part.values() if isinstance(part, dict) else part:
            yield from strings(each)


def texts(part: Any) -> Iterator[str]:
    """Yield what is written for people."""
    if isinstance(part, dict):
        yield from (part[name] for name in ("summary", "description") if isinstance(part.get(name), str))
    if isinstance(part, dict | list):
        for each in part.values() if isinstance(part, dict) else part:
            yield from texts(each)


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


def test_the_page_shows_every_operation_and_object_to_whoever_runs_no_script(web: WebApp) -> None:
    alice = web.login("alice")
    page = alice.request("GET", "/api/docs").text
    assert "style=" not in page and re.search('<button[^>]*id="copy-example"[^>]* hidden>', page)
    for (method, address), each in described().items():
        assert f">{method}</span> <code>{address}</code>" in page and each["summary"] in page
    folded = re.findall(r'<details class="folded" id="(\w+)">', page)
    assert folded == sorted(description.whole()["components"]["schemas"])
    for name in set(re.findall(r'<a href="#(\w+)"', page)):
        assert page.count(f'id="{name}"') == 1, name
    assert "-H &#34;X-CSRF-Token: $TOKEN&#34;" in page


def test_every_text_that_the_page_shows_is_translated_and_no_other(web: WebApp) -> None:
    alice = web.login("alice")
    pages = [alice.client.get(f"/api/docs?lang={code}", follow_redirects=True).text for code in ("en", "zh")]
    english, chinese = map(html.unescape, pages)
    known = description.translations("zh")
    assert [text for text in texts(description.whole()) if text in english and text not in known] == []
    assert [text for text in known if text not in strings(description.whole())] == []
    assert [text for text in known if text in chinese or known[text] not in chinese] == []


def test_every_group_and_every_need_has_a_word() -> None:
    needs = {name for each in described().values() for one in each["security"] for name in one}
    words = [f"apidocs_topic_{tag['name']}" for tag in description.whole()["tags"]]
    words += [f"apidocs_needs_{name}" for name in needs]
    assert len(words) > 5 and set(words) <= language.strings("en").keys()


def test_the_document_is_in_english_whoever_reads_it(web: WebApp) -> None:
    alice = web.login("alice")
    alice.client.get("/api/docs?lang=zh", follow_redirects=True)
    assert alice.request("GET", "/api/openapi.json").json == description.whole()
    assert re.search("[一-鿿]", repr(description.whole())) is None


def test_the_page_names_every_parameter_that_the_manual_names() -> None:
    chat = described()["POST", "/v1/chat/completions"]
    body = chat["requestBody"]["content"]["application/json"]["schema"]["properties"]
    table = MANUAL.read_text().partition("## What is understood")[2].partition("\n## ")[0]
    names = {name for row in re.findall(r"^\|([^|]+)\|", table, re.M) for name in re.findall(r"`(\w+)", row)}
    assert len(names) > 20
    assert names - body.keys() - set(re.findall(r"\w+", chat["description"])) == {"prompt"}


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
