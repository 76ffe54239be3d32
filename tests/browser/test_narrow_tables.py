"""Tables on a telephone, and what only a browser tells of the styles: where things are, and in which colours."""

from __future__ import annotations

import re

import pytest
from browser_flow import Watch, last_answer, log_in, new_context, send
from playwright.sync_api import Browser, Page, expect
from web_process import PASSWORD, WebProcess

PHONE = {"width": 360, "height": 740}
TABLES = ("/account", "/admin/users", "/admin/users/5", "/admin/keys", "/audit")  # 5: the one who looks
BUTTONS = ".cards button:visible, .cards summary:visible"
OFF_CENTRE = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const text = range.getBoundingClientRect(), box = element.getBoundingClientRect();
  return Math.abs((text.top + text.bottom) / 2 - (box.top + box.bottom) / 2);
}"""
COLOUR = "element => getComputedStyle(element).backgroundColor"


@pytest.fixture(scope="module")
def root(browser: Browser, web: WebProcess):
    """A page of an administrator who has a key and a second login; its name is as long as names are."""
    name = f"root{'-of-all' * 8}"
    web.add_user(name, "administrator")
    web.admin("key", "add", "nightly-report-of-the-whole-company", "--user", name)
    web.login(name)
    opened = new_context(browser, web.front)
    tab = opened.new_page()
    log_in(tab, web.url, name, PASSWORD)
    yield tab
    opened.close()


@pytest.mark.parametrize("width", [360, 768, 901])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_table_is_cut_off_and_its_buttons_are_in_sight(
    root: Page, web: WebProcess, width: int, language: str
) -> None:
    root.set_viewport_size({"width": width, "height": 740})
    for path in TABLES:
        root.goto(f"{web.url}{path}?lang={language}")
        hidden = root.eval_on_selector_all(".table-scroll", "all => all.map(one => one.scrollWidth - one.clientWidth)")
        assert hidden and max(hidden) <= 0, (path, hidden)
        boxes = [one.bounding_box() for one in root.locator(BUTTONS).all()]
        assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes), path
        assert boxes or path != "/account"


def test_on_a_telephone_each_value_has_its_label_and_the_table_its_parts(root: Page, web: WebProcess) -> None:
    root.set_viewport_size(PHONE)
    root.goto(f"{web.url}/account?lang=en")
    labels = "all => all.map(one => getComputedStyle(one, '::before').content)"
    assert root.eval_on_selector_all(".cards td:not(.act)", labels)[:3] == ['"Address"', '"Signed in"', '"Last seen"']
    table = root.get_by_role("table", name="").first
    assert table.get_by_role("columnheader").count() == 5
    assert table.get_by_role("row").nth(1).get_by_role("cell").count() >= 3


def test_a_link_that_looks_like_a_button_has_its_text_in_the_middle(root: Page, web: WebProcess) -> None:
    root.set_viewport_size({"width": 1280, "height": 720})
    for path in ("/account", "/admin/users"):
        root.goto(f"{web.url}{path}")
        for one in root.locator("a.plain, a.primary, .ask summary").all():
            assert one.evaluate(OFF_CENTRE) < 0.75, one.inner_text()


def test_the_words_on_the_card_of_the_login_fill_its_width(browser: Browser, web: WebProcess) -> None:
    with_words = new_context(browser, web.front).new_page()
    with_words.goto(f"{web.url}/login")
    lead = with_words.locator(".card .lead")
    lead.evaluate("element => { element.textContent = 'word '.repeat(10); }")
    range_width = (
        "e => { const r = document.createRange(); r.selectNodeContents(e); return r.getClientRects()[0].width; }"
    )
    assert lead.evaluate(range_width) > 0.8 * lead.evaluate("element => element.clientWidth")
    with_words.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_open_conversation_and_the_one_below_the_pointer_differ(
    alice: tuple[Page, Watch], web: WebProcess, theme: str
) -> None:
    page, _ = alice
    page.goto(f"{web.url}/?theme={theme}")
    for question in ("the first", "the second"):
        page.click("#new-conversation")
        send(page, question)
        last_answer(page)
    page.hover("#conversations li:not(.current):not(.age)")
    hovered = page.locator("#conversations li:not(.age):not(.current)").first.evaluate(COLOUR)
    chosen = page.locator("#conversations li.current").evaluate(COLOUR)
    assert len({hovered, chosen, page.locator("#sidebar").evaluate(COLOUR)}) == 3


@pytest.mark.parametrize(
    ("width", "is_touched", "is_shown"), [(360, True, False), (360, False, True), (1280, True, True)]
)
def test_keys_are_explained_where_there_is_a_keyboard(
    browser: Browser, web: WebProcess, width: int, is_touched: bool, is_shown: bool
) -> None:
    options = {"viewport": {"width": width, "height": 740}, "has_touch": is_touched, "is_mobile": is_touched}
    opened = new_context(browser, web.front, **options)
    page = opened.new_page()
    log_in(page, web.url, "bob", PASSWORD)
    expect(page.locator("#help")).to_be_visible(visible=is_shown)
    opened.close()


def test_copying_a_one_time_password_takes_address_and_name_too(root: Page, web: WebProcess) -> None:
    root.context.grant_permissions(["clipboard-read", "clipboard-write"])
    root.goto(f"{web.url}/admin/users?lang=en")
    root.fill("#name", "frank")
    root.click("text=Add the user")
    password = root.locator("#secret").inner_text()
    root.click("text=Copy all three")
    expect(root.locator("#copy-secret")).to_have_text("Copied")
    copied = root.evaluate("navigator.clipboard.readText()").splitlines()
    assert re.fullmatch(r"Address: https?://\S+/", copied[0])
    assert copied[1:] == ["User name: frank", f"Password: {password}"]
