"""The page of the API's description in a browser: its first example, and what links unfold."""

from __future__ import annotations

from browser_flow import Watch
from playwright.sync_api import Page, expect
from web_process import WebProcess

# As on plain http at a server's name, where browsers have no clipboard for scripts.
WITHOUT_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined})"


def test_the_first_example_asks_in_the_pages_language_and_is_copied(alice: tuple[Page, Watch], web: WebProcess) -> None:
    page, _ = alice
    page.add_init_script(WITHOUT_CLIPBOARD)
    page.goto(f"{web.url}/api/docs?lang=zh")
    example = page.locator("#example").inner_text()
    assert "早上好！" in example and f"SERVER={web.url}" in example
    expect(page.locator("#copy-example")).to_have_text("复制")
    page.click("#copy-example")
    expect(page.locator("#copy-example")).to_have_text("已复制")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<textarea id=pasted></textarea>')")
    page.focus("#pasted")
    page.keyboard.press("Control+V")
    expect(page.locator("#pasted")).to_have_value(example)


def test_a_link_to_an_object_unfolds_it_and_again_after_it_was_folded(
    alice: tuple[Page, Watch], web: WebProcess
) -> None:
    page, _ = alice
    page.goto(f"{web.url}/api/docs")
    folded, link = page.locator("details#Model"), page.locator('a[href="#Model"]').first
    expect(folded).not_to_have_attribute("open", "")
    page.locator("summary", has=page.get_by_text("/v1/models/{name}", exact=True)).click()
    for _ in range(2):
        link.click()
        expect(folded).to_have_attribute("open", "")
        expect(folded).to_be_in_viewport()
        folded.locator("summary").click()
    page.goto(f"{web.url}/account")
    page.goto(f"{web.url}/api/docs#Model")
    expect(folded).to_have_attribute("open", "")
