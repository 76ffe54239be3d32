"""Finding conversations by what is in them, and taking one home as a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from web_app import LoggedIn, WebApp, web_app

from service.web import export
from service.web.search import excerpt

LONG = "word " * 40 + "Das ist die NADEL im Heuhaufen, und ÄRGER macht sie auch. " + "word " * 40
QUESTIONS = ("echo 100% sure\\of a_b", f"echo {LONG}", "echo 模型在哪里运行？ＡＢＣ", "echo Привет, мир", "echo plain")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    with web_app(tmp_path_factory.mktemp("web")) as made:
        for name in ("alice", "bob"):
            made.add_user(name)
        yield made


@pytest.fixture(scope="module")
def alice(web: WebApp) -> LoggedIn:
    alice = web.login("alice")
    for number, question in enumerate(QUESTIONS):
        chat = alice.new_conversation(question)
        alice.request("PATCH", f"/api/conversations/{chat}", json={"title": f"Chat {number}"})
    return alice


def search(browser: LoggedIn, words: str) -> list[dict[str, Any]]:
    return browser.request("GET", "/api/conversations", query_string={"q": words}).json["conversations"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("nadel", ["Chat 1"]),
        ("ärger", ["Chat 1"]),
        ("  NADEL IM ", ["Chat 1"]),
        ("哪里运行", ["Chat 2"]),
        ("ａｂｃ", ["Chat 2"]),
        ("ПРИВЕТ", ["Chat 3"]),
        ("chat 4", ["Chat 4"]),
        ("CHAT", ["Chat 4", "Chat 3", "Chat 2", "Chat 1", "Chat 0"]),
        ("100%", ["Chat 0"]),
        ("%", ["Chat 0"]),
        ("a_b", ["Chat 0"]),
        ("_", ["Chat 0"]),
        ("sure\\of", ["Chat 0"]),
        ("nowhere", []),
        ("'; DROP TABLE messages; --", []),
        ("\0", []),
    ],
)
def test_words_are_found_as_they_are_in_titles_and_messages_whatever_their_case(
    alice: LoggedIn, words: str, found: list[str]
) -> None:
    assert [conversation["title"] for conversation in search(alice, words)] == found


def test_what_stands_around_the_words_is_shown_where_a_message_holds_them(alice: LoggedIn) -> None:
    (found,) = search(alice, "nadel")
    assert "die NADEL im Heuhaufen" in found["excerpt"]
    assert found["excerpt"].startswith("…") and found["excerpt"].endswith("…") and len(found["excerpt"]) < 140
    assert "excerpt" not in search(alice, "chat 4")[0]


def test_nobody_finds_what_is_anothers_and_what_was_deleted_is_not_found(web: WebApp, alice: LoggedIn) -> None:
    bob = web.login("bob")
    assert search(bob, "word") == [] == search(bob, "Chat")
    chat = bob.new_conversation("echo unmistakable")
    assert len(search(bob, "unmistakable")) == 1 and search(alice, "unmistakable") == []
    bob.request("DELETE", f"/api/conversations/{chat}")
    assert search(bob, "unmistakable") == []


def test_a_search_for_nothing_lists_all(alice: LoggedIn) -> None:
    assert len(search(alice, "  ")) == len(QUESTIONS)
    assert alice.request("GET", "/api/conversations?q=" + "x" * 3000).json == {"conversations": []}


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("a word here", "word", "a word here"),
        ("a\n\nword\there", "WORD", "a word here"),
        ("x" * 100 + "word", "word", "…" + "x" * 40 + "word"),
        ("word" + "x" * 100, "word", "word" + "x" * 80 + "…"),
        ("İstanbul word", "word", "İstanbul word"),
        ("nothing", "word", ""),
    ],
)
def test_an_excerpt_is_one_short_line(text: str, words: str, expected: str) -> None:
    assert excerpt(text, words) == expected


def test_the_branch_that_is_shown_is_exported_as_markdown(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo **one**")
    first = alice.request("GET", f"/api/conversations/{chat}").json["messages"][0]["id"]
    alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "die", "parent_id": None}).get_data()
    answer = alice.request("GET", f"/api/conversations/{chat}/export")
    assert answer.mimetype == "text/markdown" and "attachment" in answer.headers["Content-Disposition"]
    assert answer.text.startswith("# echo **one**\n\n## You\n\ndie\n\n## Model\n\none two three\n\n*The model was lost")
    alice.request("PATCH", f"/api/conversations/{chat}", json={"leaf_id": first, "title": '../"报告": 1/2'})
    alice.client.set_cookie("ferry_language", "zh")
    answer = alice.request("GET", f"/api/conversations/{chat}/export?format=markdown")
    alice.client.delete_cookie("ferry_language")
    assert answer.text == '# ../"报告": 1/2\n\n## 您\n\necho **one**\n\n## 模型\n\n**one**\n'
    assert "filename*=UTF-8''%E6%8A%A5%E5%91%8A%201%202.md" in answer.headers["Content-Disposition"]


def test_everything_is_exported_as_json(alice: LoggedIn) -> None:
    chat = alice.new_conversation("echo 一")
    alice.request("POST", f"/api/conversations/{chat}/messages", json={"content": "echo 2", "parent_id": None})
    answer = alice.request("GET", f"/api/conversations/{chat}/export?format=json")
    whole = alice.request("GET", f"/api/conversations/{chat}").json
    assert answer.mimetype == "application/json" and "一" in answer.text
    exported = json.loads(answer.text)
    assert exported.pop("created_at") > 0 and exported == whole and len(whole["messages"]) == 4


@pytest.mark.parametrize("form", ["", "pdf", "../markdown", "JSON"])
def test_another_format_is_a_bad_request(alice: LoggedIn, form: str) -> None:
    answer = alice.request("GET", f"/api/conversations/{alice.new_conversation()}/export?format={form}")
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "bad_format")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("", "conversation.md"),
        ("...", "conversation.md"),
        ("../../etc/passwd", "etc passwd.md"),
        ('a"b\r\nc: d|e', "a b c d e.md"),
        ("模型" * 60, "模型" * 30 + ".md"),
        ("evil\u202egpj.exe", "evil gpj.exe.md"),
    ],
)
def test_a_file_has_a_name_that_every_system_takes(title: str, name: str) -> None:
    assert export.file_name(title, "md") == name
