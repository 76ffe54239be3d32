"""The chat page in a real browser: what a person sees and does."""

from __future__ import annotations

import re
from pathlib import Path

import combination
import pytest
from browser_flow import (
    ANSWER,
    QUESTION,
    Watch,
    chat,
    last_answer,
    log_in,
    new_context,
    send,
    watched_page,
)
from browser_tour import Questions, tour
from playwright.sync_api import Browser, BrowserContext, Page, expect
from web_process import PASSWORD, WebProcess, web_process


def test_a_person_logs_in_asks_and_reads_the_answer(web: WebProcess) -> None:
    assert chat(web.url, "carol", PASSWORD, "What is it?", web.front) == "The answer to What is it? is 42."


@pytest.mark.parametrize("way", combination.ways("postgresql nginx"))
def test_a_person_does_all_that_the_page_is_for(tmp_path: Path, way: str) -> None:
    """Where the rest here is not: tests/e2e/test_crossing.py does it on SQLite, directly."""
    database, front = way.split()
    with web_process(tmp_path, database=database, front=front) as web:
        web.add_user("root", "administrator")
        tour(web.url, "root", PASSWORD, Questions("slow 30", "slow 300", "echo done"), web.front)


def test_the_answer_grows_while_it_is_written_and_ends_as_rendered_markdown(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "slow 40")
    states = set()
    while page.locator(ANSWER).last.get_attribute("data-state") == "streaming":
        states.add(page.locator(ANSWER).last.inner_text())
    assert len(states) >= 5
    send(page, "echo # Title\n\n- **bold** `code`\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```python\nprint(1)\n```\n")
    last_answer(page)
    answer = page.locator(ANSWER).last
    for selector in ("h1", "li strong", "li code", "table td.align-right", "pre code.language-python"):
        expect(answer.locator(selector)).to_have_count(1)


def test_who_waits_sees_the_place_and_who_asks_sees_the_figures(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "wait 40")
    waiting = page.locator(ANSWER).last.locator(".waiting")
    expect(waiting).to_have_text(re.compile(r"^Waiting for the model: position \d+, about \d+ s …$"))
    assert last_answer(page) == "here"
    figures = page.locator(ANSWER).last.locator("details.figures")
    expect(figures.locator("p")).to_be_hidden()
    figures.locator("summary").click()
    expect(figures.locator("p")).to_have_text(
        "12.3 tokens a second · 20 tokens written · 100 tokens read, 64 of them known from before"
    )


def test_a_question_and_a_title_are_shown_as_text(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    question = "<img src=x onerror=console.error(1)> & <b>bold</b>"
    send(page, question)
    last_answer(page)
    assert page.locator(QUESTION).last.inner_text() == question
    expect(page.locator("#conversations .current a")).to_have_text(question)
    expect(page.locator("#title")).to_have_text(question)


def test_the_stop_button_stops_the_engine_and_keeps_what_came(alice: tuple[Page, Watch], web: WebProcess) -> None:
    page, _ = alice
    before = len(web.engine.gone_at)
    send(page, "slow 400")
    expect(page.locator(ANSWER).last).to_contain_text("piece 3")
    page.click("#stop")
    web.engine.wait_until_gone(before + 1, timeout_s=2)
    assert "piece 3" in last_answer(page, "stopped")
    expect(page.locator("#send")).to_be_visible()
    page.reload()
    assert "piece 3" in last_answer(page, "stopped")


def test_a_reload_shows_the_conversation(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo first")
    last_answer(page)
    send(page, "echo second")
    last_answer(page)
    page.reload()
    assert last_answer(page) == "second"
    expect(page.locator(QUESTION)).to_have_text(["echo first", "echo second"])
    page.click("#new-conversation")
    expect(page.locator(ANSWER)).to_have_count(0)
    page.go_back()
    expect(page.locator(ANSWER)).to_have_count(2)


def test_a_search_leads_to_the_words_also_in_a_branch_that_is_not_shown(alice: tuple[Page, Watch]) -> None:
    page, watch = alice
    send(page, "echo Needle in a haystack")
    last_answer(page)
    page.locator(".question .edit").last.click()
    page.fill(".edit-field", "echo " + "a long tale\n\n" * 60)
    page.keyboard.press("Enter")
    last_answer(page)
    for words in ("needle", "LONG tale"):
        page.click("#new-conversation")
        page.fill("#search", words)
        page.click("#conversations a >> nth=0")
        expect(page.locator(".transcript mark")).to_have_text(re.compile(words, re.IGNORECASE))
        expect(page.locator(".transcript mark")).to_be_in_viewport()
    assert watch.problems == []


def test_a_second_account_does_not_see_it(alice: tuple[Page, Watch], browser: Browser, web: WebProcess) -> None:
    page, _ = alice
    send(page, "echo alice's zanzibar")
    last_answer(page)
    other = new_context(browser, web.front)
    theirs, watch = watched_page(other)
    log_in(theirs, web.url, "bob", PASSWORD)
    theirs.goto(page.url)
    expect(theirs).to_have_url(f"{web.url}/")
    expect(theirs.locator("#conversations .empty")).to_be_visible()
    assert "zanzibar" not in theirs.content()
    other.close()
    assert watch.problems == []


def test_an_answer_goes_on_while_another_conversation_is_read(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo elsewhere")
    last_answer(page)
    page.click("#new-conversation")
    send(page, "slow 40")
    expect(page.locator(ANSWER).last).to_contain_text("piece 2")
    page.click("#conversations a:has-text('elsewhere') >> nth=0")
    expect(page.locator(ANSWER)).to_have_count(1)
    expect(page.locator("#send")).to_be_visible()
    page.click("#conversations a:has-text('slow 40') >> nth=0")
    expect(page.locator(ANSWER)).to_have_count(1)
    assert "piece 39" in last_answer(page)


def test_deleting_asks_first_and_then_deletes(browser: Browser, web: WebProcess) -> None:
    opened = new_context(browser, web.front)
    page, watch = watched_page(opened)
    log_in(page, web.url, "dora", PASSWORD)
    send(page, "echo one")
    last_answer(page)
    for button in ("Cancel", "Delete"):
        page.click("#conversations .more")
        page.click(".menu >> text=Delete")
        expect(page.locator(".dialog")).to_contain_text("echo one")
        page.click(f".dialog >> text='{button}'")
        expect(page.locator("#conversations a")).to_have_count(1 if button == "Cancel" else 0)
    expect(page.locator("#conversations .empty")).to_be_visible()
    expect(page.locator("#welcome")).to_be_visible()
    opened.close()
    assert watch.problems == []


def test_shift_enter_starts_a_line_and_an_input_methods_enter_sends_nothing(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    page.fill("#prompt", "echo one")
    page.press("#prompt", "Shift+Enter")
    page.type("#prompt", "two")
    composing = "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true})"
    page.evaluate(f"document.getElementById('prompt').dispatchEvent({composing})")
    expect(page.locator(QUESTION)).to_have_count(0)
    assert page.input_value("#prompt") == "echo one\ntwo"
    page.press("#prompt", "Enter")
    assert last_answer(page) == "one\ntwo"


def test_copying_works_where_the_clipboard_interface_is_missing(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    page.evaluate("Object.defineProperty(window, 'isSecureContext', {value: false})")  # as on http://10.1.2.3
    send(page, "echo ```\nsome code\n```")
    last_answer(page)
    page.click(".code .copy")
    expect(page.locator(".code .copy")).to_have_text("Copied")
    page.focus("#prompt")
    page.keyboard.press("Control+V")
    assert page.input_value("#prompt").strip() == "some code"


def test_the_page_says_that_the_model_is_away_keeps_the_question_and_recovers(
    browser: Browser, web: WebProcess
) -> None:
    opened = new_context(browser, web.front)
    page, _ = watched_page(opened)  # a refused request is an error in the console, so none is counted here
    log_in(page, web.url, "alice", PASSWORD)
    send(page, "die now")
    assert last_answer(page, "failed") == "one two three"
    web.engine.stop()
    try:
        send(page, "echo are you there?")
        expect(page.locator("#notice")).to_be_visible()
        expect(page.locator('#model[data-ready="false"]')).to_be_visible()
        assert page.input_value("#prompt") == "echo are you there?"
    finally:
        web.engine.start()
    expect(page.locator('#model[data-ready="true"]')).to_be_visible(timeout=10_000)
    expect(page.locator("#notice")).to_be_hidden()
    page.press("#prompt", "Enter")
    assert last_answer(page) == "are you there?"
    opened.close()


def test_the_page_speaks_the_browsers_language_and_can_be_switched(browser: Browser, web: WebProcess) -> None:
    opened = new_context(browser, web.front, locale="zh-CN")
    page, watch = watched_page(opened)
    log_in(page, web.url, "alice", PASSWORD)
    expect(page.locator("#new-conversation")).to_have_text("新对话")
    send(page, "echo 你好，世界")
    assert last_answer(page) == "你好，世界"
    page.click(".languages a:has-text('English')")
    expect(page.locator("#new-conversation")).to_have_text("New conversation")
    assert last_answer(page) == "你好，世界"
    opened.close()
    assert watch.problems == []


def test_logging_out_ends_it(context: BrowserContext, web: WebProcess) -> None:
    page, watch = watched_page(context)
    log_in(page, web.url, "alice", PASSWORD)
    # What the page still asks for would be refused after the logout, and the browser would say so.
    page.wait_for_load_state("networkidle")
    page.click("#logout")
    expect(page).to_have_url(f"{web.url}/login")
    page.goto(web.url)
    expect(page).to_have_url(f"{web.url}/login")
    assert watch.problems == []


@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_nothing_sticks_out_of_the_window(browser: Browser, web: WebProcess, width: int) -> None:
    opened = new_context(browser, web.front, viewport={"width": width, "height": 740})
    page, _ = watched_page(opened)
    log_in(page, web.url, "alice", PASSWORD)
    long = "x" * 300
    send(page, f"echo {long}\n\n```\n{long}\n```\n\n| {long} | b |\n|---|---|\n| 1 | 2 |")
    last_answer(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate(
        "document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth"
    )
    opened.close()
