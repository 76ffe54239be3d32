"""Answers on the chat page: how they are drawn, told, followed and kept, and what was written before them."""

from __future__ import annotations

from browser_flow import ANSWER, QUESTION, Watch, last_answer, log_in, send, watched_page
from playwright.sync_api import BrowserContext, Page, expect
from web_process import PASSWORD, WebProcess

DRAFTS = 'Object.keys(localStorage).filter(key => key.startsWith("ferry-draft"))'


def test_formulas_and_code_are_set_and_coloured(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo \\(a^2\\) and $b_1$\n\n\\[ c \\]\n\n$$\nd\n$$\n\n```python\ndef f(): return 1\n```")
    last_answer(page)
    answer = page.locator(ANSWER).last
    expect(answer.locator(".katex")).to_have_count(4)
    expect(answer.locator(".katex-display")).to_have_count(2)
    expect(answer.locator(".hljs-keyword")).to_have_text(["def", "return"])
    height = "element => element.getBoundingClientRect().height"
    assert answer.locator(".katex-strut").first.evaluate(height) > 5  # its sizes are there, under the page's policy


def test_prices_are_no_formulas_and_a_broken_formula_is_shown_as_it_is(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo It costs $5 or $10.\n\nBroken: \\(\\frac{1\\)")
    assert last_answer(page) == "It costs $5 or $10.\n\nBroken: \\frac{1"
    expect(page.locator(f"{ANSWER} .katex")).to_have_count(0)


def test_what_is_final_is_drawn_once_and_told_once(alice: tuple[Page, Watch]) -> None:
    """A screen reader is told paragraphs, not pieces."""
    page, _ = alice
    send(page, "tale 400")
    page.locator(f"{ANSWER} p").nth(2).wait_for()
    first = page.locator(f"{ANSWER} p").first.element_handle()
    page.locator(f"{ANSWER} p").nth(6).wait_for()
    assert first.evaluate("element => element.isConnected")
    page.click("#stop")
    shown = last_answer(page, "stopped").split("\n\n")
    assert len(shown) >= 7
    expect(page.locator("#spoken p")).to_have_text(shown)
    expect(page.locator("#status")).to_have_text("Stopped before the end.")


def test_blocks_that_come_at_once_are_told_one_by_one(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo One.\n\n- Two\n- and a half\n\nThree.")
    last_answer(page)
    expect(page.locator("#spoken p")).to_have_text(["One.", "Two and a half", "Three."])


def test_a_link_that_is_explained_below_is_a_link_in_the_end(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo See [this][1].\n\nAnd more.\n\n[1]: https://example.invalid/page")
    last_answer(page)
    expect(page.locator(f"{ANSWER} a")).to_have_attribute("href", "https://example.invalid/page")


def test_a_second_tab_and_a_reload_come_back_to_the_answer(alice: tuple[Page, Watch], context: BrowserContext) -> None:
    page, _ = alice
    send(page, "slow 60")
    expect(page.locator(ANSWER)).to_contain_text("piece 3")
    second, theirs = watched_page(context)
    second.goto(page.url)
    expect(second.locator("#stop")).to_be_visible()
    page.reload()
    for tab in (page, second):
        expect(tab.locator(ANSWER)).to_have_count(1)
        assert last_answer(tab).startswith("piece 0 piece 1 ") and "piece 59" in last_answer(tab)
        expect(tab.locator("#send")).to_be_visible()
    assert theirs.problems == []


def test_stopping_in_one_tab_stops_it_in_the_other(alice: tuple[Page, Watch], context: BrowserContext) -> None:
    page, _ = alice
    send(page, "slow 400")
    expect(page.locator(ANSWER)).to_contain_text("piece 3")
    second, _ = watched_page(context)
    second.goto(page.url)
    second.click("#stop")
    assert "piece 3" in last_answer(page, "stopped")
    assert "piece 3" in last_answer(second, "stopped")


def test_a_server_that_restarts_is_come_back_to(context: BrowserContext, web: WebProcess) -> None:
    page, _ = watched_page(context)  # a connection that breaks is an error in the console, so none is counted here
    log_in(page, web.url, "carol", PASSWORD)
    send(page, "slow 400")
    expect(page.locator(ANSWER)).to_contain_text("piece 3")
    web.restart()
    expect(page.locator("#send")).to_be_visible(timeout=20_000)
    expect(page.locator(ANSWER)).to_contain_text("piece 3")
    assert page.locator(ANSWER).get_attribute("data-state") in {"stopped", "failed", "partial"}
    send(page, "echo and on it goes")
    assert last_answer(page) == "and on it goes"


def test_the_memory_of_the_model_is_marked(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo old")
    last_answer(page)
    expect(page.locator(".memory")).to_have_count(0)
    send(page, "long enough to push the rest out")
    last_answer(page)
    for _ in range(2):
        expect(page.locator(".memory + .question .bubble")).to_have_text("long enough to push the rest out")
        page.reload()


def test_versions_are_switched_with_the_keyboard(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    send(page, "echo first")
    last_answer(page)
    send(page, "echo below")
    last_answer(page)
    page.click(".question >> nth=0 >> .edit")
    page.fill(".edit-field", "echo second")
    page.keyboard.press("Enter")
    expect(page.locator(QUESTION)).to_have_text(["echo second"])
    assert last_answer(page) == "second"
    page.focus(".question .before")
    page.keyboard.press("Enter")
    expect(page.locator(QUESTION)).to_have_text(["echo first", "echo below"])
    expect(page.locator(".question .after").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(QUESTION)).to_have_text(["echo second"])
    page.reload()
    expect(page.locator(QUESTION)).to_have_text(["echo second"])


def test_one_conversation_after_the_other_has_versions_of_its_own(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    for word in ("one", "two"):
        page.click("#new-conversation")
        send(page, f"echo {word}")
        assert last_answer(page) == word
        expect(page.locator(".question .edit")).to_be_visible()
        expect(page.locator(".branches")).to_have_count(0)


def test_a_refused_edit_gives_the_words_back(context: BrowserContext, web: WebProcess) -> None:
    page, _ = watched_page(context)  # a refusal is an error in the console
    log_in(page, web.url, "bob", PASSWORD)
    send(page, "echo kept")
    last_answer(page)
    page.click(".question .edit")
    page.fill(".edit-field", "busy with much text")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_be_visible()
    assert page.input_value(".edit-field") == "busy with much text"
    page.keyboard.press("Escape")
    expect(page.locator(QUESTION)).to_have_text(["echo kept"])
    assert last_answer(page) == "kept"


def test_drafts_survive_a_reload_and_nothing_else(context: BrowserContext, web: WebProcess) -> None:
    page, watch = watched_page(context)
    log_in(page, web.url, "bob", PASSWORD)
    page.type("#prompt", "echo half a thought")
    page.reload()
    assert page.input_value("#prompt") == "echo half a thought"
    page.press("#prompt", "Enter")
    last_answer(page)
    assert page.evaluate(DRAFTS) == []
    page.type("#prompt", "for this one")
    page.click("#new-conversation")
    assert page.input_value("#prompt") == ""
    page.go_back()
    assert page.input_value("#prompt") == "for this one"
    page.click("#logout")
    expect(page).to_have_url(f"{web.url}/login")
    assert page.evaluate(DRAFTS) == []
    assert watch.problems == []


def test_a_draft_of_somebody_else_is_forgotten(context: BrowserContext, web: WebProcess) -> None:
    page, _ = watched_page(context)
    log_in(page, web.url, "bob", PASSWORD)
    page.type("#prompt", "a secret")
    context.clear_cookies()  # as when a login ends by itself
    log_in(page, web.url, "dora", PASSWORD)
    assert page.input_value("#prompt") == ""
    assert page.evaluate(DRAFTS) == []


def test_a_login_that_ends_is_told_and_the_next_one_leads_back(context: BrowserContext, web: WebProcess) -> None:
    page, _ = watched_page(context)
    log_in(page, web.url, "bob", PASSWORD)
    send(page, "echo before")
    last_answer(page)
    there = page.url
    context.clear_cookies()
    send(page, "echo never lost")
    expect(page).to_have_url(f"{web.url}/login")
    expect(page.locator("[role=status]")).to_contain_text("Your login has ended")
    page.fill("#username", "bob")
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    expect(page).to_have_url(there)
    expect(page.locator("#prompt")).to_have_value("echo never lost")


def test_everything_can_be_done_with_the_keyboard(alice: tuple[Page, Watch]) -> None:
    page, _ = alice
    press = page.keyboard.press
    page.keyboard.type("echo typed at once")
    press("Enter")
    last_answer(page)
    press("Alt+r")
    expect(page.locator(".branches .place")).to_have_text("2 / 2")
    last_answer(page)
    press("ArrowUp")
    expect(page.locator(".edit-field")).to_be_focused()
    press("Escape")
    press("Alt+n")
    expect(page.locator("#welcome")).to_be_visible()
    page.keyboard.type("slow 400")
    press("Enter")
    expect(page.locator(ANSWER)).to_contain_text("piece 2")
    press("Escape")
    last_answer(page, "stopped")
    press("Alt+k")
    page.keyboard.type("typed at once")
    expect(page.locator("#conversations mark").first).to_have_text("typed at once")
    press("Escape")
    press("Alt+i")
    press("Alt+/")
    expect(page.locator(".dialog .icon-button")).to_be_focused()
    press("Escape")
    expect(page.locator("#prompt")).to_be_focused()
    page.focus("#title-menu")
    press("Enter")
    press("Enter")
    expect(page.locator(".dialog input")).to_be_focused()
    page.keyboard.type("A name of its own")
    press("Enter")
    expect(page.locator("#title")).to_have_text("A name of its own")
    expect(page.locator("#conversations .current .name")).to_have_text("A name of its own")
    expect(page.locator("#title-menu")).to_be_focused()
