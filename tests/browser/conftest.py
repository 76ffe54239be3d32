"""What the tests in a browser share: one web process and one browser for a file, and pages that are watched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_flow import Watch, chromium, log_in, new_context, watched_page
from playwright.sync_api import Browser, BrowserContext, Page
from web_process import PASSWORD, WebProcess, web_process


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebProcess]:
    with web_process(tmp_path_factory.mktemp("web")) as running:
        for name in ("alice", "bob", "carol", "dora"):
            running.add_user(name)
        yield running


@pytest.fixture(scope="module")
def browser(web: WebProcess) -> Iterator[Browser]:
    with chromium(web.front) as running:
        yield running


@pytest.fixture
def context(browser: Browser, web: WebProcess) -> Iterator[BrowserContext]:
    opened = new_context(browser, web.front)
    yield opened
    opened.close()


@pytest.fixture
def alice(context: BrowserContext, web: WebProcess) -> Iterator[tuple[Page, Watch]]:
    """A page that alice has logged in to; afterwards, it must have kept to the rules."""
    page, watch = watched_page(context)
    log_in(page, web.url, "alice", PASSWORD)
    yield page, watch
    assert watch.problems == []
    assert watch.foreign(web.url) == []
