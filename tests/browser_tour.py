"""All that a person does in an evening with the page, for a service that is installed as well as for one on trial.

Each step fails on its own; afterwards the page must have kept to the rules: no error in the console, no violation
of its policy, no request to another host.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from browser_flow import ANSWER, QUESTION, chromium, last_answer, log_in, new_context, send, watched_page
from nginx_front import Front
from playwright.sync_api import Page, expect

STATES = 5
DARK, LIGHT = re.compile(r"rgb\(\d\d, "), re.compile(r"rgb\(2\d\d, ")
ENDED = re.compile("complete|length")


@dataclass(frozen=True)
class Questions:
    """What to ask: two questions whose answers take seconds, and one whose answer is short."""

    long: str
    longer: str
    short: str


def tour(base_url: str, user: str, password: str, questions: Questions, front: Front | None = None) -> None:
    """Do all of it as an administrator, in a browser of its own."""
    with chromium(front) as browser:
        page, watch = watched_page(new_context(browser, front))
        log_in(page, base_url, user, password)
        _ask(page, questions.long)
        _stop(page, questions.longer)
        _regenerate(page)
        _edit(page, questions.short)
        _reload(page, questions.long)
        _search(page, questions)
        _export(page, questions.short)
        _choose(page)
        _make_and_revoke_a_key(page)
        _read_the_audit_page(page, user)
    assert watch.problems == []
    assert watch.foreign(base_url) == []


def grows(page: Page) -> None:
    """Watch the last answer until it has had some states that grow."""
    states = [""]
    while len(states) <= STATES:
        text = page.locator(f"{ANSWER} >> nth=-1 >> .answer-body").inner_text()
        if len(text) > len(states[-1]) and page.locator(f"{ANSWER} .waiting").count() == 0:
            states.append(text)
        is_over = page.locator(ANSWER).last.get_attribute("data-state") != "streaming"
        assert not is_over or len(states) > STATES, states


def _ask(page: Page, question: str) -> None:
    send(page, question)
    grows(page)
    _ended(page)


def _stop(page: Page, question: str) -> None:
    send(page, question)
    grows(page)
    page.click("#stop")
    assert last_answer(page, "stopped")


def _regenerate(page: Page) -> None:
    page.locator(ANSWER).last.locator(".again").click()
    grows(page)
    page.keyboard.press("Escape")
    last_answer(page, "stopped")
    expect(page.locator(ANSWER).last.locator(".branches")).to_contain_text("2 / 2")
    page.locator(ANSWER).last.locator(".before").click()
    expect(page.locator(ANSWER).last.locator(".branches")).to_contain_text("1 / 2")


def _edit(page: Page, question: str) -> None:
    page.locator(".question .edit").last.click()
    page.fill(".edit-field", question)
    page.keyboard.press("Enter")
    expect(page.locator(QUESTION).last).to_have_text(question)
    _ended(page)
    expect(page.locator(".question").last.locator(".branches")).to_contain_text("2 / 2")


def _reload(page: Page, question: str) -> None:
    """The answer goes on while nobody looks, and the page comes back to it."""
    send(page, question)
    grows(page)
    page.reload()
    expect(page.locator(QUESTION).last).to_have_text(question)
    _ended(page)
    expect(page.locator(ANSWER).last.locator(".copy").first).to_be_visible()


def _search(page: Page, questions: Questions) -> None:
    page.click("#new-conversation")
    expect(page.locator(ANSWER)).to_have_count(0)
    page.fill("#search", "no such words anywhere")
    expect(page.locator("#conversations .empty")).to_be_visible()
    page.fill("#search", questions.short)
    expect(page.locator("#conversations .excerpt")).to_contain_text([questions.short])
    page.click("#conversations a >> nth=0")
    expect(page.locator(QUESTION).first).to_have_text(questions.long)
    expect(page.locator(".transcript mark")).to_have_text(questions.short)
    expect(page.locator(".transcript mark")).to_be_in_viewport()
    page.fill("#search", "")


def _export(page: Page, question: str) -> None:
    for form in ("Markdown", "JSON"):
        page.click("#title-menu")
        with page.expect_download() as download:
            page.click(f".menu >> text={form}")
        text = Path(download.value.path()).read_text()
        assert question in text
        assert form == "Markdown" or len(json.loads(text)["messages"]) >= 7


def _choose(page: Page) -> None:
    """Another language and another theme, and back."""
    page.click(".languages >> text=中文")
    expect(page.locator("#new-conversation")).to_have_text("新对话")
    for name, colour in (("深色", DARK), ("浅色", LIGHT)):
        page.click(f".themes >> text={name}")
        expect(page.locator(".themes [aria-current]")).to_have_text(name)
        expect(page.locator("body")).to_have_css("background-color", colour)
    page.click(".languages >> text=English")
    expect(page.locator(QUESTION).first).to_be_visible()


def _make_and_revoke_a_key(page: Page) -> None:
    page.click(".pages >> text=My account")
    page.fill("#key-name", "of the tour")
    page.click("#add-key")
    expect(page.locator("#secret")).to_have_text(re.compile("^ferry-.{20}"))
    row = page.locator("tr", has_text="of the tour")
    row.locator("summary").click()
    row.locator("button").click()
    expect(row).to_have_count(0)


def _read_the_audit_page(page: Page, user: str) -> None:
    page.click(".page-links >> text=Audit log")
    events = page.locator(".events tbody tr")
    expect(events.first).to_contain_text(user)
    page.click(".page-links >> text=Chat")
    expect(page.locator("#prompt")).to_be_enabled()


def _ended(page: Page) -> None:
    expect(page.locator(ANSWER).last).to_have_attribute("data-state", ENDED, timeout=120_000)
