"""The administration pages in a browser: the live numbers, an account from its making to its end, a setting."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser_flow import Watch, log_in, new_context, watched_page
from playwright.sync_api import Browser, BrowserContext, Page, expect
from web_process import PASSWORD, WebProcess


@pytest.fixture
def root(context: BrowserContext, web: WebProcess) -> Iterator[tuple[Page, Watch]]:
    """A page that an administrator has logged in to; afterwards, it must have kept to the rules."""
    web.admin("user", "add", "root", "--role", "administrator", "--password-stdin", stdin=PASSWORD, check=False)
    page, watch = watched_page(context)
    log_in(page, web.url, "root", PASSWORD)
    yield page, watch
    assert watch.problems == []
    assert watch.foreign(web.url) == []


def test_the_overview_tells_what_the_engine_does_now(root: tuple[Page, Watch], web: WebProcess) -> None:
    page, _ = root
    page.goto(f"{web.url}/admin")
    expect(page.locator('[data-value="running"]')).to_have_text("2")
    expect(page.locator('[data-value="engine_memory"]')).to_have_text("1.00 GiB")
    expect(page.locator('[data-value="first_token"]')).to_have_text("unknown")
    web.engine.metrics = web.engine.metrics.replace('_total{model_name="fake-model"} 1200', "_total 1400")
    expect(page.locator('[data-value="answer_speed"]')).to_have_text(re.compile(r"^[1-9][0-9.]* /s$"))
    points = page.locator('[data-chart="requests"] polyline').first.get_attribute("points")
    assert points and len(points.split()) >= 2


def test_an_account_is_made_used_limited_and_disabled(
    root: tuple[Page, Watch], web: WebProcess, browser: Browser
) -> None:
    page, _ = root
    page.goto(web.url)
    page.goto(f"{web.url}/admin/users")
    page.fill("#name", "erin")
    page.click("text=Add the user")
    password = page.locator("#secret").inner_text()
    page.click("#copy-secret")
    expect(page.locator("#copy-secret")).to_have_text("Copied")
    page.click("text=Done")
    expect(page.locator("h1")).to_have_text("erin")
    other = new_context(browser, web.front).new_page()
    other.goto(f"{web.url}/login")
    other.fill("#username", "erin")
    other.fill("#password", password)
    other.click("button[type=submit]")
    other.wait_for_url("**/account/password")
    page.fill("#tokens_per_day", "lots")
    page.click("text=Save >> nth=1")
    expect(page.get_by_role("alert")).to_contain_text("whole number")
    page.fill("#tokens_per_day", "5000")
    page.click("text=Save >> nth=1")
    expect(page.locator(".facts")).to_contain_text("5,000")
    page.click("text=Disable the account…")
    page.click("text=Yes, disable it")
    expect(page.get_by_role("status").first).to_contain_text("disabled")
    other.goto(f"{web.url}/account")
    other.wait_for_url("**/login")
    other.context.close()


def test_a_setting_says_who_made_it_and_goes_back_to_the_file(root: tuple[Page, Watch], web: WebProcess) -> None:
    page, _ = root
    page.goto(f"{web.url}/admin/settings")
    page.fill("#history-turns", "3")
    page.keyboard.press("Enter")
    panel = page.locator("section", has=page.locator("#history-turns"))
    expect(panel).to_contain_text("Set by root")
    expect(panel).to_contain_text("[history] turns = 8")
    panel.get_by_text("Use the file's value again").click()
    expect(page.locator("#history-turns")).to_have_value("8")
