"""Every page against WCAG 2 A and AA by axe-core, in both themes and languages. A page joins by a line in PAGES."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_flow import last_answer, log_in, new_context, send
from npm_modules import PAGE_CHECKS, modules
from playwright.sync_api import Browser, Page, expect
from web_process import PASSWORD, WebProcess

PAGES = {
    "/": 200,
    "/nowhere": 404,
    "/account": 200,
    "/account/password": 200,
    "/audit": 200,
    "/api/docs": 200,
    "/consent": 200,
    "/admin": 200,
    "/admin/users": 200,
    "/admin/users/1": 200,
    "/admin/keys": 200,
    "/admin/keys/1": 200,
    "/admin/settings": 200,
    "/admin/release": 200,
}
ANSWER = r"""echo # Title

A [link](https://example.invalid), `code`, **strong** and \(a^2\).

```python
# a comment
@decorator
def name(a: int = 1) -> str:
    return f"text {a}"  # None, True, 0x10
```

```html
<p class="a">&amp;</p>
```

| a | b |
|---|--:|
| 1 | 2 |

> quoted

$$\sum_{i=0}^{n} x_i$$
"""
UNFOLD = "() => document.querySelectorAll('main details').forEach(one => { one.open = true; })"
AXE = """async () => (await axe.run(document, {
  runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
})).violations.map(one => `${one.id}: ${one.help}: ${one.nodes.map(at => `${at.target} ${at.failureSummary}`)}`)"""

pytestmark = pytest.mark.npm


@pytest.fixture(scope="module")
def axe() -> str:
    return (Path(modules(PAGE_CHECKS)) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module", params=["en light", "en dark", "zh light", "zh dark"])
def page(request: pytest.FixtureRequest, browser: Browser, web: WebProcess) -> Iterator[Page]:
    """A page in one language and one theme, chosen as a person would."""
    language, theme = request.param.split()
    opened = new_context(browser, web.front)
    tab = opened.new_page()
    for choice in (f"lang={language}", f"theme={theme}"):
        tab.goto(f"{web.url}/login?{choice}")
    yield tab
    opened.close()


@pytest.fixture(scope="module", autouse=True)
def administrator(web: WebProcess) -> None:
    web.admin("user", "add", "root", "--role", "administrator", "--password-stdin", stdin=PASSWORD)
    web.admin("key", "add", "shown", "--user", "root")


def violations(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)  # by the browser's own interface: the page's policy stays as it is
    return page.evaluate(AXE)


def test_axe_finds_what_is_wrong(page: Page, axe: str) -> None:
    page.evaluate("() => { document.body.insertAdjacentHTML('beforeend', '<input><p id=faint>faint</p>'); }")
    page.evaluate("() => { document.getElementById('faint').style.cssText = 'color: #777; background: #888'; }")
    found = " ".join(violations(page, axe))
    assert "label" in found and "color-contrast" in found


def test_every_page_is_accessible_and_no_wider_than_a_telephone(page: Page, axe: str, web: WebProcess) -> None:
    page.goto(f"{web.url}/login")
    assert violations(page, axe) == []
    log_in(page, web.url, "root", PASSWORD)
    for path, status in PAGES.items():
        response = page.goto(f"{web.url}{path}")
        assert response and response.status == status, path
        page.evaluate(UNFOLD)
        assert violations(page, axe) == [], path
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") == 360, path
        assert violations(page, axe) == [], f"{path} on a telephone"
        page.set_viewport_size({"width": 1280, "height": 720})


def test_the_chat_is_accessible_in_each_of_its_states(page: Page, axe: str, web: WebProcess) -> None:
    page.goto(web.url)
    send(page, ANSWER)
    last_answer(page)
    send(page, "slow 200")
    expect(page.locator("#stop")).to_be_visible()
    assert violations(page, axe) == [], "while an answer grows"
    page.click("#stop")
    last_answer(page, "stopped")
    page.click(".question:nth-last-child(2) .edit")
    assert violations(page, axe) == [], "while a question is edited"
    page.keyboard.press("Escape")
    page.click("#title-menu")
    assert violations(page, axe) == [], "with a menu"
    page.keyboard.press("Escape")
    page.click("#help")
    assert violations(page, axe) == [], "with a window"
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("#open-menu")
    assert violations(page, axe) == [], "on a telephone"
    page.set_viewport_size({"width": 1280, "height": 720})
