"""The audit log in a browser: a user who agrees to a full record, and an auditor who reads, filters and checks it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_flow import last_answer, new_context, send, watched_page
from playwright.sync_api import Browser, Page, expect
from web_process import PASSWORD, WebProcess, web_process


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web"), '[audit]\ncontent = "full"\n') as running:
        running.add_user("alice")
        running.add_user("olga", "auditor")
        yield running


@pytest.fixture
def page(browser: Browser, web: WebProcess) -> Iterator[Page]:
    opened = new_context(browser, web.front)
    tab, watch = watched_page(opened)
    yield tab
    assert watch.problems == []
    assert watch.foreign(web.url) == []
    opened.close()


def log_in(page: Page, url: str, name: str) -> None:
    page.goto(f"{url}/login")
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")


def test_a_user_agrees_once_and_is_told_on_the_page_what_is_recorded(page: Page, web: WebProcess) -> None:
    log_in(page, web.url, "alice")
    expect(page.locator("h1")).to_have_text("Your questions are recorded")
    page.click("#agree")
    expect(page.locator("#recorded")).to_have_text("Your questions and answers are recorded in full.")
    send(page, "echo <img src=x onerror=alert(1)>")
    last_answer(page)
    page.goto(web.url)
    expect(page.locator("#prompt")).to_be_enabled()
    page.goto(f"{web.url}/account")
    expect(page.locator("#recorded")).to_contain_text("recorded in full")


def test_an_auditor_reads_filters_checks_and_downloads(page: Page, web: WebProcess, tmp_path: Path) -> None:
    log_in(page, web.url, "olga")
    expect(page.locator("h1")).to_have_text("Audit log")
    page.click("#check")
    expect(page.locator("#chain-state")).to_contain_text("Whole: at the last check")
    page.fill("#user", "ALI")
    page.select_option("#event", label="Question asked")
    page.click("#apply")
    expect(page.locator(".events tbody tr")).to_have_count(1)
    page.click(".events summary")
    expect(page.locator(".events pre")).to_have_text("echo <img src=x onerror=alert(1)>")
    page.select_option("#event", label="Answer on the page")  # typed, and not yet shown
    with page.expect_download() as found:
        page.click("#json")
    assert re.fullmatch(r"ferry-audit-20\d\d-\d\d-\d\d-ALI\.json", found.value.suggested_filename)
    found.value.save_as(tmp_path / "audit.json")
    (event,) = json.loads((tmp_path / "audit.json").read_text())
    assert (event["event"], event["user"]) == ("chat", "alice")
    expect(page.locator(".events tbody tr")).to_have_count(1)
    page.click("#today")
    page.wait_for_url("**from=20*")
    expect(page.locator("#from")).to_have_value(re.compile(r"^20\d\d-\d\d-\d\d$"))


def test_a_mistyped_date_is_told_where_it_was_typed(browser: Browser, web: WebProcess) -> None:
    opened = new_context(browser, web.front)
    page, watch = watched_page(opened)
    log_in(page, web.url, "olga")
    page.fill("#from", "30.11.2026")
    page.click("#apply")
    expect(page.locator("#bad-time")).to_be_in_viewport()
    expect(page.locator("#from")).to_be_in_viewport()
    expect(page.locator("#from")).to_have_value("30.11.2026")
    expect(page.locator(".events")).to_have_count(0)
    (problem,) = watch.problems
    assert "400" in problem, "more than that the browser tells the status"
    opened.close()
