"""Hostile texts as questions, titles, user names and answers: nothing runs, nothing is fetched.

The page is looked at without its content security policy too: what the policy would stop must not get that far.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from browser_flow import ANSWER, QUESTION, Watch, last_answer, log_in, new_context, send, watched_page
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete, update
from web_process import PASSWORD, WebProcess, log_in_form
from xss_vectors import BREAKOUTS, ELEMENTS, MUTATIONS, VECTORS

from service.web.models import Failure, User

FORBIDDEN = "img, script, svg:not(.icon):not(.katex svg), iframe, style, form, input, object, embed, video, base, meta"
ATTRIBUTES = """element => [...element.querySelectorAll("*")].flatMap(one => one.getAttributeNames()
    .filter(name => name.startsWith("on") || (name === "style" && !one.closest(".katex"))))"""


@pytest.fixture(scope="module")
def conversations(web: WebProcess) -> list[str]:
    """For each text a conversation that has it as title, question and answer."""
    client = web.login("alice")
    made = [converse(client, vector) for vector in VECTORS]
    client.close()
    return made


@pytest.fixture(scope="module", params=[False, True], ids=["with the policy", "without the policy"])
def page(request: pytest.FixtureRequest, browser: Browser, web: WebProcess) -> Iterator[tuple[Page, Watch, list[str]]]:
    """A page, what it must not do, and what ran on it."""
    opened = new_context(browser, web.front, bypass_csp=request.param)
    ran: list[str] = []
    opened.expose_binding("ferryRan", lambda source: ran.append(source["page"].url))
    tab, watch = watched_page(opened)
    log_in(tab, web.url, "alice", PASSWORD)
    yield tab, watch, ran
    opened.close()


def converse(client: httpx.Client, vector: str) -> str:
    conversation = client.post("/api/conversations").json()["id"]
    answer = client.post(f"/api/conversations/{conversation}/messages", json={"content": f"echo {vector}"})
    assert answer.status_code == 200 and '"state": "complete"' in answer.text
    assert client.patch(f"/api/conversations/{conversation}", json={"title": vector}).status_code == 200
    return conversation


def is_clean(page: Page, watch: Watch, ran: list[str], web: WebProcess) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")
    assert ran == []
    assert watch.problems == []
    assert watch.foreign(web.url) == []
    assert len(page.context.pages) == 1


def test_there_are_sixty_of_them_and_they_are_noticed_where_they_run(browser: Browser, web: WebProcess) -> None:
    assert len(set(VECTORS)) >= 60
    opened = new_context(browser, web.front, bypass_csp=True)
    ran: list[str] = []
    opened.expose_binding("ferryRan", lambda source: ran.append(source["page"].url))
    page, watch = watched_page(opened)
    page.goto(f"{web.url}/login")
    page.evaluate("text => { document.body.innerHTML = text; }", "\n".join(VECTORS[:20]))
    page.wait_for_timeout(200)
    opened.close()
    assert ran and watch.foreign(web.url)


def test_nothing_runs_as_a_title_a_question_or_an_answer(
    page: tuple[Page, Watch, list[str]], conversations: list[str], web: WebProcess
) -> None:
    tab, watch, ran = page
    tab.reload()
    expect(tab.locator("#conversations a")).to_have_count(len(VECTORS))
    for conversation, vector in zip(conversations, VECTORS, strict=True):
        tab.evaluate("id => document.querySelector(`#conversations [data-id='${id}'] a`).click()", conversation)
        expect(tab.locator("#conversations .current")).to_have_attribute("data-id", conversation)
        expect(tab.locator(ANSWER)).to_have_attribute("data-state", "complete")
        assert tab.locator(QUESTION).text_content() == f"echo {vector}".replace("\0", "\ufffd")
        transcript = tab.locator("#transcript")
        assert transcript.locator(FORBIDDEN).count() == 0, vector
        assert transcript.evaluate(ATTRIBUTES) == [], vector
        for link in transcript.locator("a").all():
            assert (link.get_attribute("href") or "https:").startswith(("https:", "http:", "mailto:")), vector
            assert link.get_attribute("rel") == "noopener noreferrer"
        is_clean(tab, watch, ran, web)


def test_nothing_runs_while_an_answer_grows_or_when_it_is_searched(
    page: tuple[Page, Watch, list[str]], web: WebProcess
) -> None:
    tab, watch, ran = page
    tab.goto(web.url)
    send(tab, "echo " + "\n\n".join(VECTORS))
    assert "onerror" in last_answer(tab)
    is_clean(tab, watch, ran, web)
    tab.fill("#search", "<img src=x")
    expect(tab.locator("#conversations .excerpt").first).to_contain_text("<img src=x")
    tab.click("#title-menu")
    tab.click(".menu >> text=Delete")
    expect(tab.locator(".dialog-name")).to_contain_text("echo <img src=x")
    is_clean(tab, watch, ran, web)
    tab.click(".dialog >> text='Delete'")
    expect(tab.locator("#welcome")).to_be_visible()


def test_nothing_runs_as_the_name_of_a_user(browser: Browser, web: WebProcess) -> None:
    names = [vector[:64] for vector in ELEMENTS + MUTATIONS + BREAKOUTS if vector.isprintable()]
    assert len(names) >= 60
    opened = new_context(browser, web.front, bypass_csp=True)
    ran: list[str] = []
    opened.expose_binding("ferryRan", lambda source: ran.append(source["page"].url))
    tab, watch = watched_page(opened)
    log_in(tab, web.url, "bob", PASSWORD)
    database = web.database()
    for name in names:
        with database.begin() as session:
            session.execute(update(User).where(User.folded_name == "bob").values(name=name))
        tab.goto(web.url, wait_until="domcontentloaded")
        assert tab.locator(".who").text_content() == name
        is_clean(tab, watch, ran, web)
    database.close()
    opened.close()


def test_nothing_runs_where_administrators_and_auditors_read_names(browser: Browser, web: WebProcess) -> None:
    names = [vector[:64] for vector in VECTORS if vector.isprintable()]
    database = web.database()
    with database.begin() as session:
        session.add_all(
            User(name=name, folded_name=f"{number} {name}"[:256], password_hash="", role="user")
            for number, name in enumerate(names)
        )
    for name in names:  # refused, and written down
        with web.client() as client:
            assert log_in_form(client, name, "wrong").status_code in {401, 429}
    with database.begin() as session:  # or whoever comes from the same address would have to wait
        session.execute(delete(Failure))
    database.close()
    web.admin("user", "add", "root", "--role", "administrator", "--password-stdin", stdin=PASSWORD)
    opened = new_context(browser, web.front, bypass_csp=True)
    ran: list[str] = []
    opened.expose_binding("ferryRan", lambda source: ran.append(source["page"].url))
    tab, watch = watched_page(opened)
    log_in(tab, web.url, "root", PASSWORD)
    for path in ("/admin/users", "/audit", "/admin/users?find=<img src=x onerror=ferryRan()>"):
        tab.goto(web.url + path)
        is_clean(tab, watch, ran, web)
    opened.close()
