"""What a person does on the chat page, done by Playwright in the system's Chromium.

`chat` is the whole way from the login to the answer; the rest are its steps, for tests that look closer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nginx_front import Front
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

# As root in a container, with no network and no services of the browser's own.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ANSWER_TIMEOUT_MS = 120_000  # a real model on a busy machine
ANSWER = '[data-role="assistant"]'
QUESTION = '[data-role="user"] .bubble'


@dataclass
class Watch:
    """What a page must not do: errors in the console, violations of its policy, requests to other hosts."""

    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def foreign(self, base_url: str) -> list[str]:
        return [url for url in self.requests if urlsplit(url).netloc != urlsplit(base_url).netloc]


def find_chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def chromium(front: Front | None = None) -> Iterator[Browser]:
    """Run a headless browser until the block ends; it trusts the certificate of what stands before the service."""
    arguments = [*ARGUMENTS, *(front.chromium_arguments() if front else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=arguments)
        yield browser
        browser.close()


def new_context(browser: Browser, front: Front | None, **options: Any) -> BrowserContext:
    """Open a window with cookies of its own; it knows the password of what stands before the service."""
    return browser.new_context(**(front.window_options() if front else {}), **{"locale": "en-GB", **options})


def watched_page(context: BrowserContext) -> tuple[Page, Watch]:
    """Open a tab, and write down everything it should not do."""
    page, watch = context.new_page(), Watch()
    # A violation of the content security policy is a console error too, and an event that no style can hide.
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation',"
        " e => console.error('CSP', e.violatedDirective, e.blockedURI))"
    )
    page.on("console", lambda message: watch.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: watch.problems.append(str(error)))
    page.on("dialog", lambda dialog: (watch.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: watch.requests.append(request.url))
    return page, watch


def log_in(page: Page, base_url: str, user: str, password: str) -> None:
    page.goto(f"{base_url}/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    if page.url.endswith("/account/password"):
        choose_password(page, f"{password} of my own")
    expect(page.locator("#prompt")).to_be_enabled()


def choose_password(page: Page, password: str) -> None:
    """Replace a one-time password, as the page asks for before anything else."""
    page.fill("input[name=password]", password)
    page.fill("input[name=repeat]", password)
    page.click("button.primary")


def send(page: Page, question: str) -> None:
    """Type a question and send it with the keyboard."""
    page.fill("#prompt", question)
    page.press("#prompt", "Enter")


def last_answer(page: Page, state: str = "complete") -> str:
    """Wait until the last answer has ended that way, and return what a person reads."""
    answer = page.locator(ANSWER).last
    expect(answer).to_have_attribute("data-state", state, timeout=ANSWER_TIMEOUT_MS)
    return answer.locator(".answer-body").inner_text()


def chat(base_url: str, user: str, password: str, question: str, front: Front | None = None) -> str:
    """Log in, ask, and return the answer. Fails on any console error, policy violation or foreign request."""
    with chromium(front) as browser:
        page, watch = watched_page(new_context(browser, front))
        log_in(page, base_url, user, password)
        send(page, question)
        answer = last_answer(page)
    assert watch.problems == []
    assert watch.foreign(base_url) == []
    return answer
